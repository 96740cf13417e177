//! The fields one side has told the other to remember (RFC 7541, 2.3.2).

use std::collections::VecDeque;

/// What an entry counts besides its bytes.
const OVERHEAD: usize = 32;

/// The newest fields that fit. Entries keep a number for as long as they live.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: VecDeque<Entry<T>>,
    /// Names and values, oldest first, behind bytes of entries that are gone.
    bytes: Vec<u8>,
    size: usize,
    most: usize,
    /// Entries that are gone.
    evicted: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    start: usize,
    name: usize,
    value: usize,
    tag: T,
}

impl<T: Copy> Table<T> {
    pub(super) fn new(most: usize) -> Table<T> {
        Table {
            entries: VecDeque::new(),
            bytes: Vec::new(),
            size: 0,
            most,
            evicted: 0,
        }
    }

    /// The most it may hold.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.make_room(0);
    }

    /// The field with this place, 0 being the newest.
    pub(super) fn get(&self, place: usize) -> Option<(&[u8], &[u8], T)> {
        let last = self.entries.len().checked_sub(1)?;
        let entry = self.entries.get(last.checked_sub(place)?)?;
        let (name, value) =
            self.bytes[entry.start..][..entry.name + entry.value].split_at(entry.name);
        Some((name, value, entry.tag))
    }

    /// The place of the entry with this number, if it still lives.
    pub(super) fn place(&self, number: u32) -> Option<usize> {
        let at = number.wrapping_sub(self.evicted) as usize;
        self.entries.len().checked_sub(at + 1)
    }

    /// Remembers a field and says its number; one that is larger than the whole table empties it.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], tag: T) -> Option<u32> {
        let size = name.len() + value.len() + OVERHEAD;
        self.make_room(size);
        if size > self.most {
            return None;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.size += size;
        self.entries.push_back(Entry {
            start,
            name: name.len(),
            value: value.len(),
            tag,
        });
        Some(self.evicted.wrapping_add(self.entries.len() as u32 - 1))
    }

    fn make_room(&mut self, wanted: usize) {
        while self.size + wanted > self.most
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= entry.name + entry.value + OVERHEAD;
            self.evicted = self.evicted.wrapping_add(1);
        }
        let gone = self
            .entries
            .front()
            .map_or(self.bytes.len(), |entry| entry.start);
        if gone > self.most {
            self.bytes.drain(..gone);
            for entry in &mut self.entries {
                entry.start -= gone;
            }
        }
    }
}
