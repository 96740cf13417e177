//! Header blocks of answers.
//!
//! A field that was said before on the connection is one or two bytes. One whose value has changed many times in a row is
//! not remembered any more, only its name is: it would push out what repeats. Strings are not coded: that costs more
//! than it saves where most fields are known.

use super::table::Table;
use super::{TABLE_BYTES, integer, static_table};

/// Values of one name in a row that were all new.
const CHANGES_MAX: u8 = 8;
/// A field above this part of the table would push out too many others.
const SHARE: usize = 4;
const FIELDS: usize = 128;
const NAMES: usize = 64;

#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table<()>,
    /// By hash of name and value: the number of the last such entry.
    fields: [u32; FIELDS],
    names: [Habit; NAMES],
    /// The least and the last size that the other side asked for since the last block.
    resized: Option<(usize, usize)>,
}

/// What is known of the names with one hash.
#[derive(Clone, Copy, Debug, Default)]
struct Habit {
    hash: u32,
    /// Of the last entry with the name.
    number: u32,
    changes: u8,
}

impl Encoder {
    pub(crate) fn new() -> Encoder {
        Encoder {
            table: Table::new(TABLE_BYTES),
            fields: [0; FIELDS],
            names: [Habit::default(); NAMES],
            resized: None,
        }
    }

    /// Keeps to the size of table that the other side has set.
    pub(crate) fn resize(&mut self, most: usize) {
        let most = most.min(TABLE_BYTES);
        let least = self.resized.map_or(most, |(least, _)| least.min(most));
        self.resized = Some((least, most));
    }

    /// Begins a block, with its status if it is not one of trailers.
    pub(crate) fn begin(&mut self, status: Option<u16>, out: &mut Vec<u8>) {
        if let Some((least, last)) = self.resized.take() {
            for size in [least, last] {
                if size != self.table.most() {
                    self.table.resize(size);
                    integer::write(out, 0x20, 5, size);
                }
            }
        }
        match status.map(|status| (status, static_table::status(status))) {
            None => {}
            Some((_, Some(number))) => integer::write(out, 0x80, 7, number),
            Some((status, None)) => {
                let digits = [status / 100 % 10, status / 10 % 10, status % 10];
                let text = digits.map(|digit| b'0' + digit as u8);
                integer::write(out, 0, 4, static_table::STATUS);
                push_string(out, &text);
            }
        }
    }

    /// Adds a field; its name may have capitals.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        const DYNAMIC: usize = static_table::FIELDS.len() + 1;
        let name_hash = hash(0, name, 0x2020_2020_2020_2020);
        let field = hash(name_hash, value, 0) as usize % FIELDS;
        let habit = &mut self.names[name_hash as usize % NAMES];
        let is_same =
            |found: (&[u8], &[u8], ())| found.1 == value && found.0.eq_ignore_ascii_case(name);
        if let Some(place) = self.table.place(self.fields[field])
            && self.table.get(place).is_some_and(is_same)
        {
            habit.changes = 0;
            return integer::write(out, 0x80, 7, DYNAMIC + place);
        }
        if habit.hash != name_hash {
            *habit = Habit {
                hash: name_hash,
                number: u32::MAX,
                changes: 0,
            };
        }
        habit.changes = habit.changes.saturating_add(1);
        let known = static_table::name(name).or_else(|| {
            let place = self.table.place(habit.number)?;
            let found = self.table.get(place)?;
            found
                .0
                .eq_ignore_ascii_case(name)
                .then_some(DYNAMIC + place)
        });
        let changes = habit.changes > CHANGES_MAX && known.is_some();
        let remember = !changes && (name.len() + value.len()) * SHARE < self.table.most();
        let (first, prefix) = if remember { (0x40, 6) } else { (0, 4) };
        integer::write(out, first, prefix, known.unwrap_or(0));
        if known.is_none() {
            push_string(out, name);
            let name_at = out.len() - name.len();
            out[name_at..].make_ascii_lowercase();
        }
        push_string(out, value);
        if remember && let Some(number) = self.table.insert(name, value, ()) {
            self.fields[field] = number;
            habit.number = number;
        }
    }
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    integer::write(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Mixes `bytes`, with the bits of `fold` set in each eight of them, into `seed`.
fn hash(seed: u32, bytes: &[u8], fold: u64) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| (state ^ word).wrapping_mul(ODD).rotate_left(29);
    let mut state = u64::from(seed) ^ (bytes.len() as u64) << 32;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state, u64::from_le_bytes(*word) | fold);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state = mix(state, u64::from_le_bytes(last) | fold);
    (state ^ state >> 32) as u32
}
