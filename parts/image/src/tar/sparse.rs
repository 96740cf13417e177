use std::io::Read;

use super::header::BLOCK;
use super::pax::decimal;
use super::{TarError, TarReader, spend};

/// A stretch of a file that is stored; the rest of the file is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Segments follow each other inside the file and are exactly what is stored.
pub(super) fn check(segments: &[Segment], size: u64, stored: u64) -> Result<(), TarError> {
    let mut end = 0;
    let mut sum = 0u64;
    for segment in segments {
        if segment.offset < end {
            return Err(TarError::Sparse);
        }
        end = segment
            .offset
            .checked_add(segment.length)
            .filter(|end| *end <= size)
            .ok_or(TarError::Sparse)?;
        sum = sum.checked_add(segment.length).ok_or(TarError::Sparse)?;
    }
    if sum == stored {
        Ok(())
    } else {
        Err(TarError::Sparse)
    }
}

/// The map of pax version 1.0: a count and that many pairs, one decimal number a line, filled up to a block.
pub(super) fn read_map<R: Read>(
    archive: &mut TarReader<R>,
    budget: &mut usize,
) -> Result<Vec<Segment>, TarError> {
    let mut text = Vec::new();
    let mut used = 0;
    let mut number = |archive: &mut TarReader<R>| -> Result<u64, TarError> {
        loop {
            if let Some(end) = text[used..].iter().position(|byte| *byte == b'\n') {
                let number = decimal(&text[used..used + end]).ok_or(TarError::Sparse)?;
                used += end + 1;
                return Ok(number);
            }
            spend(budget, BLOCK, archive.header_bytes_max)?;
            let mut block = [0; BLOCK];
            if archive.left < BLOCK as u64 {
                return Err(TarError::Sparse);
            }
            archive.read_content(&mut block)?;
            text.extend_from_slice(&block);
        }
    };
    let count = number(archive)?;
    let mut map = Vec::new();
    for _ in 0..count {
        map.push(Segment {
            offset: number(archive)?,
            length: number(archive)?,
        });
    }
    Ok(map)
}
