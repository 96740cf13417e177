//! Header blocks as they come.

use super::static_table::FIELDS;
use super::table::Table;
use super::{TABLE_BYTES, huffman, integer};

/// The block cannot be read, and none after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Reads the blocks of one connection. Each field gets a tag that is found out once and remembered with it.
#[derive(Debug)]
pub(crate) struct Decoder<T> {
    table: Table<T>,
    tag: fn(&[u8], &[u8]) -> T,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl<T: Copy> Decoder<T> {
    /// `tag` is given name and value of a field.
    pub(crate) fn new(tag: fn(&[u8], &[u8]) -> T) -> Decoder<T> {
        Decoder {
            table: Table::new(TABLE_BYTES),
            tag,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Gives each field of a block to `field`, in order.
    ///
    /// # Errors
    /// [`Broken`]; what both sides remember is no longer the same.
    pub(crate) fn decode(
        &mut self,
        mut block: &[u8],
        mut field: impl FnMut(&[u8], &[u8], T),
    ) -> Result<(), Broken> {
        let mut has_begun = false;
        while let Some(first) = block.first() {
            match first {
                0x80.. => {
                    let number = integer::read(&mut block, 7)?;
                    let (name, value, tag) = self.known(number)?;
                    field(name, value, tag);
                }
                0x40.. => self.literal(&mut block, 6, true, &mut field)?,
                0x20.. => {
                    let most = integer::read(&mut block, 5)?;
                    // Only at the beginning, and not more than we keep.
                    if has_begun || most > TABLE_BYTES {
                        return Err(Broken);
                    }
                    self.table.resize(most);
                    continue;
                }
                _ => self.literal(&mut block, 4, false, &mut field)?,
            }
            has_begun = true;
        }
        Ok(())
    }

    /// Gives memory back; for a connection that waits.
    pub(crate) fn rest(&mut self) {
        (self.name, self.value) = (Vec::new(), Vec::new());
    }

    fn known(&self, number: usize) -> Result<(&[u8], &[u8], T), Broken> {
        let place = number.checked_sub(1).ok_or(Broken)?;
        match FIELDS.get(place) {
            Some((name, value)) => {
                let (name, value) = (name.as_bytes(), value.as_bytes());
                Ok((name, value, (self.tag)(name, value)))
            }
            None => self.table.get(place - FIELDS.len()).ok_or(Broken),
        }
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix: u32,
        remember: bool,
        field: &mut impl FnMut(&[u8], &[u8], T),
    ) -> Result<(), Broken> {
        let number = integer::read(block, prefix)?;
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        if number == 0 {
            string(block, &mut name)?;
        } else {
            name.extend_from_slice(self.known(number)?.0);
        }
        self.value.clear();
        string(block, &mut self.value)?;
        let tag = (self.tag)(&name, &self.value);
        field(&name, &self.value, tag);
        if remember {
            self.table.insert(&name, &self.value, tag);
        }
        self.name = name;
        Ok(())
    }
}

/// Appends a string literal (RFC 7541, 5.2).
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::read(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Broken)?;
    *block = rest;
    if is_coded {
        huffman::decode(text, out)
    } else {
        out.extend_from_slice(text);
        Ok(())
    }
}
