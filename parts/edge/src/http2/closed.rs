//! The streams that have ended last.

/// So many are remembered.
const LAST: usize = 128;
const OURS: u32 = 1 << 31;

/// Frames for a stream that we have reset are late, for others that have ended they are wrong (RFC 9113, 5.1).
#[derive(Debug)]
pub(super) struct Closed([u32; LAST]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// We reset it.
    Ours,
    /// Both sides ended, or the client reset it.
    Theirs,
    /// It ended long ago, or was passed over.
    Unknown,
}

impl Closed {
    pub(super) fn new() -> Closed {
        Closed([0; LAST])
    }

    pub(super) fn add(&mut self, id: u32, is_ours: bool) {
        self.0[place(id)] = if is_ours { id | OURS } else { id };
    }

    pub(super) fn ending(&self, id: u32) -> Ending {
        match self.0[place(id)] {
            known if known == id => Ending::Theirs,
            known if known == id | OURS => Ending::Ours,
            _ => Ending::Unknown,
        }
    }
}

fn place(id: u32) -> usize {
    // Clients count in twos.
    id as usize / 2 % LAST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered() {
        let mut closed = Closed::new();
        for id in (1..2 * LAST as u32 + 4).step_by(2) {
            closed.add(id, id % 3 == 0);
        }
        assert_eq!(closed.ending(1), Ending::Unknown);
        assert_eq!(closed.ending(5), Ending::Theirs);
        assert_eq!(closed.ending(9), Ending::Ours);
        assert_eq!(closed.ending(10_001), Ending::Unknown);
    }
}
