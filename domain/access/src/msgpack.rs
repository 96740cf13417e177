//! The little of MessagePack (<https://github.com/msgpack/msgpack/blob/master/spec.md>) that tokens are made of.
//!
//! Signatures are over bytes: the writer always takes the shortest form, and the reader can hand out the bytes of a
//! value as they are.

use crate::macaroon::InvalidMacaroon;

type Read<T> = Result<T, InvalidMacaroon>;

/// Nested deeper than any caveat is.
const DEPTH_MAX: u32 = 16;

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn malformed(what: &'static str) -> InvalidMacaroon {
    InvalidMacaroon::Malformed(what)
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn end(&self) -> Read<()> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(malformed("bytes after its end")),
        }
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        self.at += taken.map_or(0, <[u8]>::len);
        taken.ok_or(malformed("it ends too early"))
    }

    fn number(&mut self, width: usize) -> Read<u64> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: usize) -> Read<usize> {
        usize::try_from(self.number(width)?).map_err(|_| malformed("a length"))
    }

    fn marker(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn array(&mut self) -> Read<usize> {
        match self.marker()? {
            marker @ 0x90..=0x9f => Ok(usize::from(marker & 0x0f)),
            0xdc => self.length(2),
            0xdd => self.length(4),
            0xc0 => Ok(0),
            _ => Err(malformed("no list where one is due")),
        }
    }

    /// A list of exactly this length.
    pub(crate) fn fields(&mut self, count: usize) -> Read<()> {
        match self.array()? == count {
            true => Ok(()),
            false => Err(malformed("a list of another length than is due")),
        }
    }

    pub(crate) fn map(&mut self) -> Read<usize> {
        match self.marker()? {
            marker @ 0x80..=0x8f => Ok(usize::from(marker & 0x0f)),
            0xde => self.length(2),
            0xdf => self.length(4),
            0xc0 => Ok(0),
            _ => Err(malformed("no table where one is due")),
        }
    }

    pub(crate) fn uint(&mut self) -> Read<u64> {
        let number = self.int()?;
        u64::try_from(number).map_err(|_| malformed("a negative number"))
    }

    pub(crate) fn int(&mut self) -> Read<i128> {
        let signed =
            |number: u64, bits: u32| i128::from((number << (64 - bits)) as i64 >> (64 - bits));
        Ok(match self.marker()? {
            marker @ 0x00..=0x7f => i128::from(marker),
            marker @ 0xe0..=0xff => i128::from(marker as i8),
            0xcc => i128::from(self.number(1)?),
            0xcd => i128::from(self.number(2)?),
            0xce => i128::from(self.number(4)?),
            0xcf => i128::from(self.number(8)?),
            0xd0 => signed(self.number(1)?, 8),
            0xd1 => signed(self.number(2)?, 16),
            0xd2 => signed(self.number(4)?, 32),
            0xd3 => signed(self.number(8)?, 64),
            _ => return Err(malformed("no number where one is due")),
        })
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        match self.marker()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(malformed("neither true nor false where one is due")),
        }
    }

    pub(crate) fn bin(&mut self) -> Read<&'a [u8]> {
        let length = match self.marker()? {
            0xc4 => self.length(1)?,
            0xc5 => self.length(2)?,
            0xc6 => self.length(4)?,
            0xc0 => 0,
            _ => return Err(malformed("no bytes where some are due")),
        };
        self.take(length)
    }

    pub(crate) fn str(&mut self) -> Read<&'a str> {
        let length = match self.marker()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => self.length(1)?,
            0xda => self.length(2)?,
            0xdb => self.length(4)?,
            _ => return Err(malformed("no text where some is due")),
        };
        std::str::from_utf8(self.take(length)?).map_err(|_| malformed("a text is not UTF-8"))
    }

    /// The bytes of the next value, whatever it is.
    pub(crate) fn raw(&mut self) -> Read<&'a [u8]> {
        let start = self.at;
        self.skip(DEPTH_MAX)?;
        Ok(&self.bytes[start..self.at])
    }

    fn skip(&mut self, depth: u32) -> Read<()> {
        let depth = depth.checked_sub(1).ok_or(malformed("nested too deeply"))?;
        let (bytes, values) = match self.marker()? {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            marker @ 0x80..=0x8f => (0, 2 * usize::from(marker & 0x0f)),
            marker @ 0x90..=0x9f => (0, usize::from(marker & 0x0f)),
            marker @ 0xa0..=0xbf => (usize::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (self.length(1)?, 0),
            0xc5 | 0xda => (self.length(2)?, 0),
            0xc6 | 0xdb => (self.length(4)?, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xdc => (0, self.length(2)?),
            0xdd => (0, self.length(4)?),
            0xde => (0, self.length(2)?.saturating_mul(2)),
            0xdf => (0, self.length(4)?.saturating_mul(2)),
            // An extension has its type before its bytes.
            0xc7 => (self.length(1)?.saturating_add(1), 0),
            0xc8 => (self.length(2)?.saturating_add(1), 0),
            0xc9 => (self.length(4)?.saturating_add(1), 0),
            marker @ 0xd4..=0xd8 => (1 + (1 << (marker - 0xd4)), 0),
            0xc1 => return Err(malformed("a byte that means nothing")),
        };
        self.take(bytes)?;
        (0..values).try_for_each(|_| self.skip(depth))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    fn sized(&mut self, length: usize, fix: Option<(u8, usize)>, wide: [Option<u8>; 3]) {
        if let Some((marker, below)) = fix
            && length < below
        {
            self.0.push(marker | length as u8);
            return;
        }
        match (length, wide) {
            (0..=0xff, [Some(marker), ..]) => self.0.extend([marker, length as u8]),
            (0..=0xffff, [_, Some(marker), _]) => {
                self.0.push(marker);
                self.0.extend((length as u16).to_be_bytes());
            }
            (_, [.., marker]) => {
                self.0.push(marker.unwrap_or_default());
                self.0.extend((length as u32).to_be_bytes());
            }
        }
    }

    pub(crate) fn array(&mut self, length: usize) {
        self.sized(length, Some((0x90, 16)), [None, Some(0xdc), Some(0xdd)]);
    }

    pub(crate) fn map(&mut self, length: usize) {
        self.sized(length, Some((0x80, 16)), [None, Some(0xde), Some(0xdf)]);
    }

    pub(crate) fn str(&mut self, text: &str) {
        self.sized(
            text.len(),
            Some((0xa0, 32)),
            [Some(0xd9), Some(0xda), Some(0xdb)],
        );
        self.0.extend(text.as_bytes());
    }

    pub(crate) fn bin(&mut self, bytes: &[u8]) {
        self.sized(bytes.len(), None, [Some(0xc4), Some(0xc5), Some(0xc6)]);
        self.0.extend(bytes);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.push(0xc2 | u8::from(value));
    }

    pub(crate) fn uint(&mut self, number: u64) {
        match number {
            0..=0x7f => self.0.push(number as u8),
            0x80..=0xff => self.0.extend([0xcc, number as u8]),
            0x100..=0xffff => {
                self.0.push(0xcd);
                self.0.extend((number as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.0.push(0xce);
                self.0.extend((number as u32).to_be_bytes());
            }
            _ => {
                self.0.push(0xcf);
                self.0.extend(number.to_be_bytes());
            }
        }
    }

    pub(crate) fn int(&mut self, number: i64) {
        match number {
            0.. => self.uint(number.unsigned_abs()),
            -32..=-1 => self.0.push(number as i8 as u8),
            -128..=-33 => self.0.extend([0xd0, number as i8 as u8]),
            -32_768..=-129 => {
                self.0.push(0xd1);
                self.0.extend((number as i16).to_be_bytes());
            }
            -2_147_483_648..=-32_769 => {
                self.0.push(0xd2);
                self.0.extend((number as i32).to_be_bytes());
            }
            _ => {
                self.0.push(0xd3);
                self.0.extend(number.to_be_bytes());
            }
        }
    }
}
