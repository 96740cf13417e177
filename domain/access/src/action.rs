use std::fmt;
use std::ops::{BitAnd, BitOr};

/// What is done to a resource, as a set: `r`ead, `w`rite, `c`reate, `d`elete, and `C`ontrol, which starts, stops and
/// signals machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Action(pub u16);

impl Action {
    pub const NONE: Action = Action(0);
    pub const READ: Action = Action(1);
    pub const WRITE: Action = Action(1 << 1);
    pub const CREATE: Action = Action(1 << 2);
    pub const DELETE: Action = Action(1 << 3);
    pub const CONTROL: Action = Action(1 << 4);
    pub const ALL: Action = Action((1 << 5) - 1);

    const LETTERS: [(char, Action); 5] = [
        ('r', Action::READ),
        ('w', Action::WRITE),
        ('c', Action::CREATE),
        ('d', Action::DELETE),
        ('C', Action::CONTROL),
    ];

    pub fn is_subset_of(self, other: Action) -> bool {
        self.0 & other.0 == self.0
    }

    pub fn without(self, other: Action) -> Action {
        Action(self.0 & !other.0)
    }

    /// `*` is everything there is and may ever be; letters that mean nothing are passed over, as upstream does.
    pub fn from_letters(text: &str) -> Action {
        if text == "*" {
            return Action(u16::MAX);
        }
        let known = |letter| Self::LETTERS.iter().find(|(known, _)| *known == letter);
        text.chars()
            .filter_map(known)
            .fold(Action::NONE, |all, (_, action)| all | *action)
    }
}

impl BitOr for Action {
    type Output = Action;

    fn bitor(self, other: Action) -> Action {
        Action(self.0 | other.0)
    }
}

impl BitAnd for Action {
    type Output = Action;

    fn bitand(self, other: Action) -> Action {
        Action(self.0 & other.0)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::LETTERS
            .iter()
            .filter(|(_, action)| action.is_subset_of(*self))
            .try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}
