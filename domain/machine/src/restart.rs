use std::time::Duration;

use mayfly_types::Timestamp;

use crate::{Exit, RestartMode, RestartPolicy};

/// Restarts of `on-failure` when the user names no number.
pub const RETRIES_DEFAULT: u32 = 10;

/// A guest that ran this long was well: its restarts are forgotten. The window of
/// <https://fly.io/docs/machines/guides-examples/machine-restart-policy/>.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(300);

/// Ten restarts take some two minutes, well within the window.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// What a policy says to an end that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start again at `at`; `count` restarts since the machine was well, with this one.
    Restart { at: Timestamp, count: u32 },
    /// The policy wants no restart.
    Stay,
    /// The policy wants one, but `limit` have been tried.
    GiveUp { limit: u32 },
}

impl RestartPolicy {
    /// The most restarts in a row; `None` is no limit.
    pub fn limit(&self) -> Option<u32> {
        match self.mode {
            RestartMode::No => Some(0),
            RestartMode::OnFailure => Some(self.max_retries.unwrap_or(RETRIES_DEFAULT)),
            RestartMode::Always => self.max_retries,
        }
    }

    /// Decides about a guest that started at `started_at` and ended with `exit` after `restarts` restarts.
    pub fn verdict(&self, exit: &Exit, started_at: Timestamp, restarts: u32) -> Verdict {
        let wanted = match self.mode {
            RestartMode::No => false,
            RestartMode::OnFailure => !exit.is_success(),
            RestartMode::Always => true,
        };
        if !wanted {
            return Verdict::Stay;
        }
        let restarts = if exit.at.since(started_at) >= HEALTHY_AFTER {
            0
        } else {
            restarts
        };
        match self.limit() {
            Some(limit) if restarts >= limit => Verdict::GiveUp { limit },
            _ => Verdict::Restart {
                at: exit.at + pause(restarts),
                count: restarts + 1,
            },
        }
    }
}

/// The wait before restart number `restarts` + 1.
fn pause(restarts: u32) -> Duration {
    PAUSE_FIRST
        .saturating_mul(2u32.saturating_pow(restarts))
        .min(PAUSE_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32, at: i64) -> Exit {
        Exit {
            code: Some(code),
            ..Exit::unseen(Timestamp::from_millis(at))
        }
    }

    #[test]
    fn policies_restart_what_they_name() {
        let start = Timestamp::from_millis(0);
        let policy = |mode, max_retries| RestartPolicy { mode, max_retries };
        let restart = |at, count| Verdict::Restart {
            at: Timestamp::from_millis(at),
            count,
        };
        for (mode, retries, code, at, restarts, verdict) in [
            (RestartMode::No, None, 1, 10, 0, Verdict::Stay),
            (RestartMode::OnFailure, None, 0, 10, 0, Verdict::Stay),
            (RestartMode::OnFailure, None, 1, 10, 0, restart(260, 1)),
            (RestartMode::OnFailure, None, 1, 10, 1, restart(510, 2)),
            (
                RestartMode::OnFailure,
                None,
                1,
                10,
                10,
                Verdict::GiveUp { limit: 10 },
            ),
            (
                RestartMode::OnFailure,
                Some(0),
                1,
                10,
                0,
                Verdict::GiveUp { limit: 0 },
            ),
            (
                RestartMode::OnFailure,
                Some(3),
                1,
                300_000,
                3,
                restart(300_250, 1),
            ),
            (RestartMode::Always, None, 0, 10, 99, restart(30_010, 100)),
            (
                RestartMode::Always,
                Some(2),
                0,
                10,
                2,
                Verdict::GiveUp { limit: 2 },
            ),
        ] {
            let found = policy(mode, retries).verdict(&exit(code, at), start, restarts);
            assert_eq!(
                found, verdict,
                "{mode:?} {retries:?} {code} {at} {restarts}"
            );
        }
    }

    #[test]
    fn memory_exhaustion_and_signals_are_failures() {
        let mut killed = exit(0, 5);
        killed.oom_killed = true;
        assert!(!killed.is_success());
        assert!(!Exit::unseen(Timestamp::default()).is_success());
    }
}
