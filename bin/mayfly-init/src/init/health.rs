//! One health check of a container: when to probe and what the results mean. Values in, values out.

use mayfly_machine::Healthcheck;

use crate::clock::Moment;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Unknown,
    Passing,
    Failing,
}

/// The state of a check while its container runs.
#[derive(Debug)]
pub(crate) struct CheckState {
    pub(crate) verdict: Verdict,
    /// When to probe next; while a probe runs, when to give it up.
    pub(crate) due: Moment,
    pub(crate) probing: bool,
    grace_until: Moment,
    passed: u32,
    failed: u32,
}

impl CheckState {
    /// The container has just started.
    pub(crate) fn begin(check: &Healthcheck, now: Moment) -> Self {
        CheckState {
            verdict: Verdict::Unknown,
            due: now,
            probing: false,
            grace_until: now.after(check.grace_period),
            passed: 0,
            failed: 0,
        }
    }

    pub(crate) fn probe_started(&mut self, check: &Healthcheck, now: Moment) {
        self.probing = true;
        self.due = now.after(check.timeout);
    }

    /// Counts a result. Failures within the grace period do not count.
    pub(crate) fn probe_ended(&mut self, check: &Healthcheck, passed: bool, now: Moment) {
        self.probing = false;
        self.due = now.after(check.interval);
        if passed {
            self.failed = 0;
            self.passed = self.passed.saturating_add(1);
            if self.passed >= check.success_threshold.max(1) {
                self.verdict = Verdict::Passing;
            }
        } else {
            self.passed = 0;
            if now < self.grace_until {
                return;
            }
            self.failed = self.failed.saturating_add(1);
            if self.failed >= check.failure_threshold.max(1) {
                self.verdict = Verdict::Failing;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mayfly_machine::Probe;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn check() -> Healthcheck {
        Healthcheck {
            name: None,
            interval: SECOND,
            grace_period: 3 * SECOND,
            timeout: SECOND,
            success_threshold: 2,
            failure_threshold: 2,
            stop_when_unhealthy: false,
            probe: Probe::Tcp { port: 80 },
        }
    }

    #[test]
    fn thresholds_and_grace() {
        let check = check();
        let start = Moment::now();
        let at = |seconds: u32| start.after(seconds * SECOND);
        let mut state = CheckState::begin(&check, start);
        for (second, passed, wanted) in [
            (0, false, Verdict::Unknown),
            (1, false, Verdict::Unknown),
            (2, true, Verdict::Unknown),
            (3, false, Verdict::Unknown),
            (4, true, Verdict::Unknown),
            (5, true, Verdict::Passing),
            (6, false, Verdict::Passing),
            (7, true, Verdict::Passing),
            (8, false, Verdict::Passing),
            (9, false, Verdict::Failing),
            (10, true, Verdict::Failing),
            (11, true, Verdict::Passing),
        ] {
            state.probe_started(&check, at(second));
            assert_eq!(state.due, at(second + 1));
            state.probe_ended(&check, passed, at(second));
            assert_eq!(state.verdict, wanted, "second {second}");
            assert_eq!(state.due, at(second + 1));
        }
    }
}
