use std::time::Duration;

use mayfly_machine::{CheckStatus, MachineState};
use mayfly_types::Timestamp;

use crate::{Rules, Strategy};

/// A machine without checks that ran for so long is up: as long as clients of the original watch it.
const SMOKE: Duration = Duration::from_secs(10);

/// A program that ended more often than this since it got the release crashes again and again.
const RESTARTS_MAX: u32 = 1;

/// What is known of a machine that has the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub state: MachineState,
    /// When that state began.
    pub since: Timestamp,
    /// When the release was asked for.
    pub updated_at: Timestamp,
    /// Its host has the release.
    pub delivered: bool,
    /// Its program was started with the release.
    pub ran: bool,
    /// It was made or changed without being started, and stays so.
    pub rests: bool,
    pub checks: Vec<CheckNow>,
    /// How often the program ended by itself since the release, and with which code last.
    pub crashes: u32,
    pub exit_code: Option<i32>,
    pub failure: Option<String>,
}

/// One check as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckNow {
    pub name: String,
    pub status: CheckStatus,
    pub output: String,
}

/// Whether a machine with the release counts as up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    Up,
    Waiting,
    /// It will not be up; why, for people.
    Broken(String),
}

/// Judges a machine at `now`.
///
/// With checks it is up when all of them pass, without when it ran for ten seconds. A program that ended with code 0 and
/// is not started again has done its work. `immediate` asks for nothing but that the host has the release.
pub fn readiness(seen: &Seen, rules: &Rules, now: Timestamp) -> Readiness {
    if rules.strategy == Strategy::Immediate || seen.rests {
        return match seen.delivered {
            true => Readiness::Up,
            false => late(seen, rules, now),
        };
    }
    match seen.state {
        MachineState::Failed | MachineState::LaunchFailed => {
            let why = seen.failure.as_deref().unwrap_or("it could not be started");
            return Readiness::Broken(why.to_owned());
        }
        _ if seen.crashes > RESTARTS_MAX => {
            return Readiness::Broken(format!(
                "the app appears to be crashing: it ended {} times, last with exit code {}",
                seen.crashes,
                code(seen)
            ));
        }
        MachineState::Stopped if seen.delivered && seen.crashes > 0 => {
            return match seen.exit_code {
                Some(0) => Readiness::Up,
                _ => Readiness::Broken(format!("it ended with exit code {}", code(seen))),
            };
        }
        // It came up and was put to rest for want of requests.
        MachineState::Stopped | MachineState::Suspended if seen.delivered && seen.ran => {
            return Readiness::Up;
        }
        MachineState::Destroyed | MachineState::Destroying => {
            return Readiness::Broken("it was destroyed".to_owned());
        }
        MachineState::Started if seen.delivered && seen.ran => {}
        _ => return late(seen, rules, now),
    }
    let passing = |check: &CheckNow| check.status == CheckStatus::Passing;
    let up = match seen.checks.is_empty() || !rules.checks {
        false => seen.checks.iter().all(passing),
        true => !rules.smoke_checks || now.since(seen.since) >= SMOKE,
    };
    if up {
        return Readiness::Up;
    }
    late(seen, rules, now)
}

/// Waiting, while there is patience.
fn late(seen: &Seen, rules: &Rules, now: Timestamp) -> Readiness {
    if now.since(seen.updated_at) < rules.wait_timeout {
        return Readiness::Waiting;
    }
    let seconds = rules.wait_timeout.as_secs();
    let failing = seen
        .checks
        .iter()
        .find(|check| check.status != CheckStatus::Passing);
    Readiness::Broken(match failing {
        Some(check) => format!(
            "check {} is {} after {seconds} s: {}",
            check.name,
            check.status.as_str(),
            check.output.trim()
        ),
        None => format!("it is {} after {seconds} s", seen.state),
    })
}

fn code(seen: &Seen) -> String {
    seen.exit_code
        .map_or_else(|| "unknown".to_owned(), |code| code.to_string())
}
