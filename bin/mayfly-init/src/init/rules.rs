//! When a container of a machine starts, restarts and counts as well. Values in, values out.

use std::time::Duration;

use mayfly_guest::{ContainerExit, RestartRule};
use mayfly_machine::{Condition, Dependency};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

impl End {
    pub(crate) fn is_success(self) -> bool {
        self == End::Code(0)
    }

    pub(crate) fn record(end: Option<End>, name: &str) -> ContainerExit {
        ContainerExit {
            name: name.to_owned(),
            exit_code: end.and_then(|end| match end {
                End::Code(code) => Some(code),
                End::Signal(_) => None,
            }),
            signal: end.and_then(|end| match end {
                End::Code(_) => None,
                End::Signal(signal) => Some(signal),
            }),
        }
    }
}

/// What others may know of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// It runs now.
    pub(crate) up: bool,
    pub(crate) healthy: bool,
    /// It ended and will not come again.
    pub(crate) ended: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    Wait,
    /// The condition can never come true.
    Never,
}

/// Whether a container may start, given how the others stand.
pub(crate) fn readiness(
    dependencies: &[Dependency],
    standing: impl Fn(&str) -> Option<Standing>,
) -> Readiness {
    let mut all = Readiness::Ready;
    for dependency in dependencies {
        let one = match (standing(&dependency.name), dependency.condition) {
            (None, _) => Readiness::Never,
            (Some(other), Condition::ExitedSuccessfully) => match other.ended {
                Some(end) if end.is_success() => Readiness::Ready,
                Some(_) => Readiness::Never,
                None => Readiness::Wait,
            },
            // One that ran and ended had started.
            (Some(other), Condition::Started) if other.up || other.ended.is_some() => {
                Readiness::Ready
            }
            (Some(other), Condition::Healthy) if other.healthy => Readiness::Ready,
            (Some(other), _) if other.ended.is_some() => Readiness::Never,
            (Some(_), _) => Readiness::Wait,
        };
        all = match (all, one) {
            (Readiness::Never, _) | (_, Readiness::Never) => return Readiness::Never,
            (Readiness::Wait, _) | (_, Readiness::Wait) => Readiness::Wait,
            _ => Readiness::Ready,
        };
    }
    all
}

const RESTART_DELAY: Duration = Duration::from_millis(500);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(15);

/// The pause before a container runs again, `None` if it does not. `retries` is how often it did already.
pub(crate) fn restart_delay(rule: RestartRule, end: End, retries: u32) -> Option<Duration> {
    let again = match rule {
        RestartRule::Never => false,
        RestartRule::OnFailure { max_retries } => !end.is_success() && retries < max_retries,
        RestartRule::Always => true,
    };
    again.then(|| {
        let factor = 1_u32 << retries.min(10);
        RESTART_DELAY.saturating_mul(factor).min(RESTART_DELAY_MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(up: bool, healthy: bool, ended: Option<End>) -> Standing {
        Standing { up, healthy, ended }
    }

    #[test]
    fn dependencies_by_condition_and_standing() {
        use Condition::*;
        use Readiness::*;
        let waiting = standing(false, false, None);
        let up = standing(true, false, None);
        let well = standing(true, true, None);
        let good = standing(false, false, Some(End::Code(0)));
        let bad = standing(false, false, Some(End::Code(3)));
        for (condition, state, wanted) in [
            (Started, waiting, Wait),
            (Started, up, Ready),
            (Started, bad, Ready),
            (Healthy, waiting, Wait),
            (Healthy, up, Wait),
            (Healthy, well, Ready),
            (Healthy, good, Never),
            (ExitedSuccessfully, waiting, Wait),
            (ExitedSuccessfully, well, Wait),
            (ExitedSuccessfully, good, Ready),
            (ExitedSuccessfully, bad, Never),
        ] {
            let dependency = Dependency {
                name: "other".into(),
                condition,
            };
            let found = readiness(&[dependency], |name| (name == "other").then_some(state));
            assert_eq!(found, wanted, "{condition:?} {state:?}");
        }
    }

    #[test]
    fn all_dependencies_count() {
        let on = |name: &str| Dependency {
            name: name.into(),
            condition: Condition::Started,
        };
        let state = |name: &str| match name {
            "up" => Some(standing(true, false, None)),
            "waiting" => Some(standing(false, false, None)),
            _ => None,
        };
        assert_eq!(readiness(&[], state), Readiness::Ready);
        assert_eq!(
            readiness(&[on("up"), on("waiting")], state),
            Readiness::Wait
        );
        assert_eq!(
            readiness(&[on("waiting"), on("gone")], state),
            Readiness::Never
        );
    }

    #[test]
    fn restarts_follow_the_rule_and_slow_down() {
        let failed = End::Code(1);
        let twice = RestartRule::OnFailure { max_retries: 2 };
        assert_eq!(restart_delay(RestartRule::Never, failed, 0), None);
        assert_eq!(restart_delay(twice, End::Code(0), 0), None);
        assert_eq!(
            restart_delay(twice, End::Signal(9), 1),
            Some(RESTART_DELAY * 2)
        );
        assert_eq!(restart_delay(twice, failed, 2), None);
        assert_eq!(
            restart_delay(RestartRule::Always, End::Code(0), 4_000_000),
            Some(RESTART_DELAY_MAX)
        );
    }
}
