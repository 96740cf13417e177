use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal a user may send to a machine, by its Linux number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Signal(i32);

/// Not a signal that can be sent to a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a signal: use a number from 1 to 31 or one of {names}", names = Signal::allowed())]
pub struct InvalidSignal(pub String);

const NAMES: [(i32, &str); 18] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (11, "SIGSEGV"),
    (12, "SIGUSR2"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (17, "SIGCHLD"),
    (18, "SIGCONT"),
    (19, "SIGSTOP"),
    (28, "SIGWINCH"),
];

impl Signal {
    pub const HUP: Signal = Signal(1);
    pub const INT: Signal = Signal(2);
    pub const KILL: Signal = Signal(9);
    pub const TERM: Signal = Signal(15);

    pub const fn number(self) -> i32 {
        self.0
    }

    fn allowed() -> String {
        NAMES.map(|(_, name)| name).join(", ")
    }
}

impl TryFrom<i32> for Signal {
    type Error = InvalidSignal;

    fn try_from(number: i32) -> Result<Self, InvalidSignal> {
        if (1..=31).contains(&number) {
            Ok(Signal(number))
        } else {
            Err(InvalidSignal(number.to_string()))
        }
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> i32 {
        signal.0
    }
}

impl FromStr for Signal {
    type Err = InvalidSignal;

    /// Accepts `SIGTERM`, `TERM`, `sigterm` and `15`.
    fn from_str(text: &str) -> Result<Self, InvalidSignal> {
        let upper = text.trim().to_ascii_uppercase();
        if let Ok(number) = upper.parse::<i32>() {
            return Signal::try_from(number);
        }
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        NAMES
            .iter()
            .find(|(_, name)| name.strip_prefix("SIG") == Some(bare))
            .map(|(number, _)| Signal(*number))
            .ok_or_else(|| InvalidSignal(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.pad(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_one() {
        for text in ["SIGTERM", "term", "15", "SigTerm"] {
            assert_eq!(text.parse::<Signal>().unwrap(), Signal::TERM, "{text}");
        }
        for text in ["0", "64", "SIGNOPE", "", "-9"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }
}
