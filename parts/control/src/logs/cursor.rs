use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mayfly_types::MachineId;

use crate::error::ApiError;

/// What a reader has seen of each machine; opaque to callers. Written `<machine>.<seq>` joined by `_`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor(BTreeMap<MachineId, u64>);

/// Stands for a cursor that has seen nothing, since an empty token means "no token".
const NOTHING: &str = "0";

/// More machines than any token of ours names.
const MACHINES_MAX: usize = 20_000;

impl Cursor {
    /// The line after which to read on; 0 for a machine that was not there yet.
    pub(super) fn of(&self, machine: MachineId) -> u64 {
        self.0.get(&machine).copied().unwrap_or(0)
    }

    pub(super) fn advance(&mut self, machine: MachineId, seq: u64) {
        if seq > self.of(machine) {
            self.0.insert(machine, seq);
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NOTHING);
        }
        for (index, (machine, seq)) in self.0.iter().enumerate() {
            let divider = if index == 0 { "" } else { "_" };
            write!(f, "{divider}{machine}.{seq:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::unreadable("query parameter \"next_token\" is not one of ours");
        let mut cursor = Cursor::default();
        if text == NOTHING {
            return Ok(cursor);
        }
        for part in text.split('_') {
            let (machine, seq) = part.split_once('.').ok_or_else(invalid)?;
            let seq = u64::from_str_radix(seq, 16).map_err(|_| invalid())?;
            cursor
                .0
                .insert(machine.parse().map_err(|_| invalid())?, seq);
            if cursor.0.len() > MACHINES_MAX {
                return Err(invalid());
            }
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_foreign_ones_are_refused() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        cursor.advance("e784079f004d86".parse().unwrap(), 300);
        cursor.advance("0123456789abcd".parse().unwrap(), 1);
        cursor.advance("0123456789abcd".parse().unwrap(), 0);
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        for foreign in ["x", "1669", "e784079f004d86", "e784079f004d86.zz", "_"] {
            assert!(foreign.parse::<Cursor>().is_err(), "{foreign}");
        }
    }
}
