//! Deadlines that cost nothing per request: one coarse clock per core, moved by the core's sweeper.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// How often the sweeper should move the clock: the error of every deadline.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// The coarse clock of one core and the connections that look at it.
#[derive(Debug)]
pub(crate) struct Ticker {
    began: Instant,
    /// Milliseconds since it began, as of the last tick; from 1.
    now: AtomicU64,
    pulses: Mutex<Vec<Weak<Pulse>>>,
}

/// The deadline of one connection, or of one stream of it.
#[derive(Debug)]
pub(crate) struct Pulse {
    ticker: Arc<Ticker>,
    /// In the ticker's milliseconds; 0 means none.
    deadline: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// The deadline passed first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired;

impl Ticker {
    pub(crate) fn new() -> Arc<Ticker> {
        Arc::new(Ticker {
            began: Instant::now(),
            now: AtomicU64::new(1),
            pulses: Mutex::default(),
        })
    }

    /// A new deadline that is not set yet.
    pub(crate) fn pulse(self: &Arc<Self>) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse {
            ticker: Arc::clone(self),
            deadline: AtomicU64::new(0),
            waker: Mutex::default(),
        });
        self.pulses
            .lock()
            .expect("no holder of this lock panics")
            .push(Arc::downgrade(&pulse));
        pulse
    }

    /// The time of the last tick.
    pub(crate) fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.now.load(Ordering::Relaxed))
    }

    /// Moves the clock and wakes whoever's deadline has passed.
    pub(crate) fn tick(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now.store(passed.max(1), Ordering::Relaxed);
        let mut late = Vec::new();
        self.pulses
            .lock()
            .expect("no holder of this lock panics")
            .retain(|pulse| {
                let Some(pulse) = pulse.upgrade() else {
                    return false;
                };
                if pulse.has_expired() {
                    late.push(pulse);
                }
                true
            });
        for pulse in late {
            let waker = pulse
                .waker
                .lock()
                .expect("no holder of this lock panics")
                .take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Pulse {
    /// Moves the deadline to `span` from now.
    pub(crate) fn set(&self, span: Duration) {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let deadline = self
            .ticker
            .now
            .load(Ordering::Relaxed)
            .saturating_add(span.max(1));
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.deadline.store(0, Ordering::Relaxed);
    }

    fn has_expired(&self) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        deadline != 0 && deadline <= self.ticker.now.load(Ordering::Relaxed)
    }

    /// Waits for `future`, at most until the deadline, which may move meanwhile.
    ///
    /// The caller pins it, because an `async fn` that takes a future keeps room for it twice.
    pub(crate) fn watch<F: Future + Unpin>(
        &self,
        mut future: F,
    ) -> impl Future<Output = Result<F::Output, Expired>> {
        poll_fn(move |context| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
                return Poll::Ready(Ok(output));
            }
            if self.has_expired() {
                return Poll::Ready(Err(Expired));
            }
            let mut waker = self.waker.lock().expect("no holder of this lock panics");
            if !waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(context.waker()))
            {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_waiting_and_can_be_moved() {
        let ticker = Ticker::new();
        let pulse = ticker.pulse();
        pulse.set(Duration::from_secs(2));
        let ticks = async {
            for turn in 0..20 {
                tokio::time::sleep(TICK).await;
                if turn == 2 {
                    pulse.set(Duration::from_secs(3));
                }
                ticker.tick();
            }
        };
        let began = Instant::now();
        let waiting = async {
            let waited = pulse.watch(std::future::pending::<()>()).await;
            (waited, began.elapsed())
        };
        let ((waited, took), ()) = tokio::join!(waiting, ticks);
        assert_eq!(waited, Err(Expired));
        assert!(took >= Duration::from_secs(4), "{took:?}");
        assert_eq!(
            pulse.watch(pin!(async { 7 })).await,
            Ok(7),
            "what is ready wins"
        );
        pulse.clear();
        drop(pulse);
        ticker.tick();
        assert!(ticker.pulses.lock().unwrap().is_empty());
    }
}
