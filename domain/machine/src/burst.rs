use std::time::Duration;

use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CpuKind, GuestSize};

/// The CPU time a machine with shared CPUs may use above its baseline.
///
/// A shared CPU may always use a sixteenth of itself. What it does not use of that is saved, up to 500 s; while savings
/// last, it may run at full speed. Rules and figures: <https://fly.io/docs/machines/cpu-performance/>.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurstBudget {
    /// CPU seconds.
    balance: f64,
    used: Duration,
    at: Timestamp,
}

/// How much CPU a guest may use from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuLimit {
    /// All of its CPUs.
    Full,
    /// A share of them, in thousandths of one CPU.
    Baseline { millicpus: u32 },
}

/// Thousandths of a CPU that one shared CPU may always use: 5 ms of every 80 ms.
pub(crate) const BASELINE_PERMILLE: f64 = 62.5;
/// CPU seconds per CPU.
const INITIAL_BALANCE: f64 = 5.0;
const GREATEST_BALANCE: f64 = 500.0;

impl BurstBudget {
    /// The budget of a guest that starts at `now`; `None` for dedicated CPUs, which have no limit below full use.
    pub fn new(size: GuestSize, now: Timestamp) -> Option<BurstBudget> {
        (size.cpu_kind == CpuKind::Shared).then(|| BurstBudget {
            balance: INITIAL_BALANCE * f64::from(size.cpus),
            used: Duration::ZERO,
            at: now,
        })
    }

    /// Books the CPU time used so far and says what the guest may use until the next reading.
    ///
    /// `used` counts from the guest's start. A clock or counter that went backwards books nothing.
    pub fn book(&mut self, size: GuestSize, used: Duration, now: Timestamp) -> CpuLimit {
        let cpus = f64::from(size.cpus);
        let baseline = cpus * BASELINE_PERMILLE / 1000.0;
        let earned = now.since(self.at).as_secs_f64() * baseline;
        let spent = used.saturating_sub(self.used).as_secs_f64();
        self.balance = (self.balance + earned - spent).clamp(0.0, GREATEST_BALANCE * cpus);
        self.used = used.max(self.used);
        self.at = now.max(self.at);
        if self.balance > 0.0 {
            CpuLimit::Full
        } else {
            CpuLimit::Baseline {
                millicpus: (baseline * 1000.0) as u32,
            }
        }
    }

    /// CPU seconds that may still be used above the baseline.
    pub fn balance(&self) -> f64 {
        self.balance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: GuestSize = GuestSize {
        cpu_kind: CpuKind::Shared,
        cpus: 1,
        memory_mib: 256,
    };

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    #[test]
    fn a_busy_guest_is_held_to_its_baseline_once_its_credit_is_spent() {
        let mut budget = BurstBudget::new(SHARED, second(0)).unwrap();
        let mut used = 0.0;
        let mut limited_at = None;
        for now in 1..60 {
            used += if limited_at.is_some() { 0.0625 } else { 1.0 };
            let limit = budget.book(SHARED, Duration::from_secs_f64(used), second(now));
            if limit != CpuLimit::Full {
                assert_eq!(limit, CpuLimit::Baseline { millicpus: 62 });
                limited_at.get_or_insert(now);
            }
        }
        // 5 s of credit at 1 - 1/16 per second.
        assert_eq!(limited_at, Some(6));
    }

    #[test]
    fn idle_time_is_saved_up_to_a_ceiling() {
        let mut budget = BurstBudget::new(SHARED, second(0)).unwrap();
        budget.book(SHARED, Duration::ZERO, second(16));
        assert!((budget.balance() - 6.0).abs() < 1e-9);
        budget.book(SHARED, Duration::ZERO, second(1_000_000));
        assert!((budget.balance() - 500.0).abs() < 1e-9);
    }

    #[test]
    fn counters_that_go_backwards_give_nothing_away() {
        let mut budget = BurstBudget::new(SHARED, second(100)).unwrap();
        budget.book(SHARED, Duration::from_secs(3), second(100));
        let balance = budget.balance();
        budget.book(SHARED, Duration::from_secs(1), second(50));
        budget.book(SHARED, Duration::from_secs(3), second(100));
        assert!((budget.balance() - balance).abs() < 1e-9);
    }

    #[test]
    fn dedicated_cpus_have_no_budget() {
        let size = GuestSize {
            cpu_kind: CpuKind::Performance,
            cpus: 1,
            memory_mib: 2048,
        };
        assert_eq!(BurstBudget::new(size, second(0)), None);
    }
}
