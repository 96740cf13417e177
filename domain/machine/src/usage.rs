//! What a machine used of its memory and CPUs, as far back as it is worth knowing.

mod levels;

use std::collections::VecDeque;
use std::time::Duration;

use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

use self::levels::Spread;
use crate::GuestSize;

pub use levels::Levels;

/// One window is forgotten as a whole.
const WINDOW: Duration = Duration::from_secs(6 * 3600);
/// A week: shorter ones miss the day on which most is asked for.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The measurements of one machine during a week, at most 29 windows of some hundred bytes. They are of one size: what a
/// machine uses depends on what it has, so another size begins anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageHistory {
    size: GuestSize,
    windows: VecDeque<Window>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Window {
    since: Timestamp,
    measured_ms: u64,
    memory_mib: Spread,
    cpu_millis: Spread,
}

/// What a machine used from the look before to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageSample {
    pub at: Timestamp,
    /// Since the look before.
    pub span: Duration,
    /// Now; without what could be dropped at once.
    pub memory_mib: u32,
    /// On average, in thousandths of one CPU.
    pub cpu_millis: u32,
}

/// A history in few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub size: GuestSize,
    pub since: Timestamp,
    /// How long it was looked at: only while it ran.
    pub measured: Duration,
    pub memory_mib: Levels,
    pub cpu_millis: Levels,
}

impl UsageHistory {
    pub fn new(size: GuestSize) -> Self {
        UsageHistory {
            size,
            windows: VecDeque::new(),
        }
    }

    pub fn record(&mut self, size: GuestSize, sample: UsageSample) {
        if self.size != size {
            *self = UsageHistory::new(size);
        }
        self.forget(sample.at);
        let newest = self.windows.back();
        if newest.is_none_or(|window| sample.at.since(window.since) >= WINDOW) {
            self.windows.push_back(Window {
                since: sample.at - sample.span,
                measured_ms: 0,
                memory_mib: Spread::default(),
                cpu_millis: Spread::default(),
            });
        }
        if let Some(window) = self.windows.back_mut() {
            window.measured_ms += u64::try_from(sample.span.as_millis()).unwrap_or(u64::MAX);
            window.memory_mib.add(sample.memory_mib);
            window.cpu_millis.add(sample.cpu_millis);
        }
    }

    /// Drops what is too old at `now`.
    pub fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.windows.front()
            && now.since(oldest.since) > KEPT + WINDOW
        {
            self.windows.pop_front();
        }
    }

    /// The history in few numbers; `None` before the first measurement.
    pub fn usage(&self) -> Option<Usage> {
        let oldest = self.windows.front()?;
        let (mut memory, mut cpu) = (Spread::default(), Spread::default());
        let mut measured_ms = 0_u64;
        for window in &self.windows {
            memory.merge(&window.memory_mib);
            cpu.merge(&window.cpu_millis);
            measured_ms = measured_ms.saturating_add(window.measured_ms);
        }
        Some(Usage {
            size: self.size,
            since: oldest.since,
            measured: Duration::from_millis(measured_ms),
            memory_mib: memory.levels()?,
            cpu_millis: cpu.levels()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(minute: i64, memory_mib: u32, cpu_millis: u32) -> UsageSample {
        UsageSample {
            at: Timestamp::from_millis(minute * 60_000),
            span: Duration::from_secs(60),
            memory_mib,
            cpu_millis,
        }
    }

    #[test]
    fn a_week_is_remembered_in_few_bytes() {
        let size = GuestSize::default();
        let mut history = UsageHistory::new(size);
        assert_eq!(history.usage(), None);
        // Ten days; the peak of the first hour is forgotten.
        history.record(size, sample(0, 250, 900));
        for minute in 1..10 * 24 * 60 {
            let busy = minute % 10 == 0;
            history.record(size, sample(minute, if busy { 90 } else { 40 }, 20));
        }
        let usage = history.usage().unwrap();
        assert_eq!(usage.memory_mib.peak, 90);
        assert!(usage.memory_mib.p95 >= 90 - 8, "{usage:?}");
        assert_eq!(usage.memory_mib.mean, 44, "rounded down");
        let days = usage.measured.as_secs_f64() / 86_400.0;
        assert!((7.0..7.5).contains(&days), "{days}");
        let stored = serde_json::to_string(&history).unwrap();
        assert!(stored.len() < 6000, "{} bytes", stored.len());
        let again: UsageHistory = serde_json::from_str(&stored).unwrap();
        assert_eq!(again, history);
    }

    #[test]
    fn another_size_begins_anew() {
        let small = GuestSize::default();
        let mut history = UsageHistory::new(small);
        history.record(small, sample(1, 250, 900));
        let large = GuestSize::preset("shared-cpu-2x").unwrap();
        history.record(large, sample(2, 30, 10));
        let usage = history.usage().unwrap();
        assert_eq!((usage.size, usage.memory_mib.peak), (large, 30));
        assert_eq!(usage.measured, Duration::from_secs(60));
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let size = GuestSize::default();
        let mut history = UsageHistory::new(size);
        history.record(size, sample(1000, 10, 1));
        history.record(size, sample(10, 20, 1));
        let usage = history.usage().unwrap();
        assert_eq!(usage.measured, Duration::from_secs(120));
        assert_eq!(usage.memory_mib.peak, 20);
    }
}
