//! Signals by the names the protocol has for them: RFC 4254, section 6.10.

use mayfly_machine::Signal;

/// Names and numbers of Linux.
const NAMES: [(&str, i32); 15] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
];

pub(crate) fn named(name: &str) -> Option<Signal> {
    let (_, number) = NAMES.iter().find(|(known, _)| *known == name)?;
    Signal::try_from(*number).ok()
}

/// What is not listed ends as a signal of that number does not: the reader sees its number.
pub(crate) fn name_of(number: i32) -> String {
    let known = NAMES.iter().find(|(_, known)| *known == number);
    known.map_or_else(
        || format!("SIG{number}@mayfly"),
        |(name, _)| (*name).to_owned(),
    )
}
