use super::TarError;
use super::sparse::Segment;

pub(crate) const BLOCK: usize = 512;

/// A header block whose checksum is right.
pub(super) struct Header([u8; BLOCK]);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Magic {
    V7,
    Ustar,
    Gnu,
}

impl Header {
    pub(super) fn checked(block: [u8; BLOCK]) -> Result<Header, TarError> {
        let header = Header(block);
        let stated = header.number(148, 8, "checksum")?;
        let counted = |byte: (usize, &u8)| match byte {
            (148..=155, _) => b' ',
            (_, byte) => *byte,
        };
        let bytes = || header.0.iter().enumerate().map(counted);
        let unsigned: u64 = bytes().map(u64::from).sum();
        // Some old writers added signed characters.
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        if stated != unsigned && i64::try_from(stated) != Ok(signed) {
            return Err(TarError::Checksum);
        }
        Ok(header)
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn magic(&self) -> Magic {
        match &self.0[257..265] {
            b"ustar\x0000" => Magic::Ustar,
            b"ustar  \0" => Magic::Gnu,
            // Writers disagree about the version; the magic decides.
            other if other.starts_with(b"ustar\0") => Magic::Ustar,
            _ => Magic::V7,
        }
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        let prefix = match self.magic() {
            Magic::Ustar => self.text(345, 155),
            Magic::Gnu | Magic::V7 => &[],
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.text(157, 100).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, TarError> {
        let mode = self.number(100, 8, "mode")?;
        u32::try_from(mode).map_err(|_| TarError::Number("mode"))
    }

    pub(super) fn uid(&self) -> Result<u64, TarError> {
        self.number(108, 8, "owner")
    }

    pub(super) fn gid(&self) -> Result<u64, TarError> {
        self.number(116, 8, "group")
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        self.number(124, 12, "size")
    }

    pub(super) fn mtime(&self) -> Result<(i64, u32), TarError> {
        // A base-256 time may be before 1970; nobody needs to know by how much.
        if self.0[136] == 0xff {
            return Ok((0, 0));
        }
        let seconds = self.number(136, 12, "time")?;
        let seconds = i64::try_from(seconds).map_err(|_| TarError::Number("time"))?;
        Ok((seconds, 0))
    }

    /// The first segments of an old GNU sparse file, and whether further blocks follow.
    pub(super) fn sparse_map(&self) -> Result<(Vec<Segment>, bool), TarError> {
        let mut map = Vec::new();
        for slot in 0..4 {
            push_segment(&self.0, 386 + slot * 24, &mut map)?;
        }
        Ok((map, self.0[482] != 0))
    }

    pub(super) fn sparse_size(&self) -> Result<u64, TarError> {
        self.number(483, 12, "size")
    }

    fn text(&self, at: usize, length: usize) -> &[u8] {
        let field = &self.0[at..at + length];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        &field[..end]
    }

    fn number(&self, at: usize, length: usize, field: &'static str) -> Result<u64, TarError> {
        number(&self.0[at..at + length]).ok_or(TarError::Number(field))
    }
}

/// Adds the segments of a further block of an old GNU sparse map; true if another one follows.
pub(super) fn extend_sparse_map(
    block: &[u8; BLOCK],
    map: &mut Vec<Segment>,
) -> Result<bool, TarError> {
    for slot in 0..21 {
        push_segment(block, slot * 24, map)?;
    }
    Ok(block[504] != 0)
}

fn push_segment(block: &[u8; BLOCK], at: usize, map: &mut Vec<Segment>) -> Result<(), TarError> {
    if block[at] == 0 {
        return Ok(());
    }
    let part = |at: usize| number(&block[at..at + 12]).ok_or(TarError::Sparse);
    map.push(Segment {
        offset: part(at)?,
        length: part(at + 12)?,
    });
    Ok(())
}

/// Octal digits between blanks, or base 256 when the highest bit is set. Negative and oversized numbers are `None`.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        if field[0] != 0x80 {
            return None;
        }
        let (high, low) =
            field[1..].split_at(field.len() - 1 - field.len().min(9).saturating_sub(1));
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        return low.iter().try_fold(0u64, |sum, byte| {
            Some(sum.checked_mul(256)? | u64::from(*byte))
        });
    }
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    let digits = field[..end].trim_ascii();
    digits.iter().try_fold(0u64, |sum, byte| match byte {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"77777777777\0"), Some(0o77_777_777_777));
        assert_eq!(
            number(b"\x80\0\0\0\0\0\0\x02\0\0\0\x01"),
            Some((2 << 32) + 1)
        );
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        for wrong in [
            &b"89\0"[..],
            b"-1\0",
            b"0x1\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"7777777777777777777777777",
        ] {
            assert_eq!(number(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
