//! What the edge counted: one set of plain counters per core, summed when somebody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one core. Only its thread writes, so adding is a load and a store.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) connections_ended: Counter,
    pub(crate) requests: Counter,
    /// By hundreds of the status: 1xx at 0.
    pub(crate) answers: [Counter; 5],
    pub(crate) own_answers: Counter,
    pub(crate) broken: Counter,
    pub(crate) retries: Counter,
    pub(crate) replays: Counter,
    pub(crate) limited: Counter,
    pub(crate) connects: Counter,
    pub(crate) connects_failed: Counter,
    pub(crate) reused: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        // No other thread writes here.
        self.0
            .store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the whole edge counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeTotals {
    pub connections: u64,
    pub connections_open: u64,
    pub requests: u64,
    /// Final answers by hundreds of the status, from 1xx (a tunnel) to 5xx.
    pub answers: [u64; 5],
    /// Answers of the edge itself, redirects and errors.
    pub own_answers: u64,
    /// Answers that began and could not be finished.
    pub broken: u64,
    pub retries: u64,
    pub replays: u64,
    /// Requests refused because a client had too many.
    pub limited: u64,
    pub connects: u64,
    pub connects_failed: u64,
    /// Requests on a machine's connection that served one before.
    pub reused: u64,
}

/// A view on the counters that stays valid while the edge runs.
#[derive(Clone, Debug, Default)]
pub struct EdgeMetrics(Arc<Vec<Arc<Counters>>>);

impl EdgeMetrics {
    /// For as many cores.
    pub(crate) fn new(cores: usize) -> EdgeMetrics {
        EdgeMetrics(Arc::new((0..cores).map(|_| Arc::default()).collect()))
    }

    pub(crate) fn core(&self, index: usize) -> Arc<Counters> {
        Arc::clone(&self.0[index])
    }

    /// The sums now; they only grow, but for what is open.
    pub fn read(&self) -> EdgeTotals {
        let sum = |of: &dyn Fn(&Counters) -> u64| self.0.iter().map(|core| of(core)).sum::<u64>();
        let connections = sum(&|core| core.connections.get());
        EdgeTotals {
            connections,
            connections_open: connections.saturating_sub(sum(&|core| core.connections_ended.get())),
            requests: sum(&|core| core.requests.get()),
            answers: std::array::from_fn(|class| sum(&|core| core.answers[class].get())),
            own_answers: sum(&|core| core.own_answers.get()),
            broken: sum(&|core| core.broken.get()),
            retries: sum(&|core| core.retries.get()),
            replays: sum(&|core| core.replays.get()),
            limited: sum(&|core| core.limited.get()),
            connects: sum(&|core| core.connects.get()),
            connects_failed: sum(&|core| core.connects_failed.get()),
            reused: sum(&|core| core.reused.get()),
        }
    }
}

impl Counters {
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.answers[class].add();
    }
}
