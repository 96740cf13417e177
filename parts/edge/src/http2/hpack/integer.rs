//! Numbers that begin within a byte (RFC 7541, 5.1).

use super::decoder::Broken;

/// More is no place in a table and no length of anything.
const MAX: usize = 1 << 28;

/// Reads a number whose first byte has `prefix` bits of it and takes it from `bytes`.
pub(super) fn read(bytes: &mut &[u8], prefix: u32) -> Result<usize, Broken> {
    let (first, mut rest) = bytes.split_first().ok_or(Broken)?;
    let most = (1_usize << prefix) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        let mut shift = 0;
        loop {
            let (next, left) = rest.split_first().ok_or(Broken)?;
            rest = left;
            number += usize::from(next & 0x7f) << shift;
            if number > MAX {
                return Err(Broken);
            }
            if next & 0x80 == 0 {
                break;
            }
            shift += 7;
            // Zeros without end would never exceed it.
            if shift > 28 {
                return Err(Broken);
            }
        }
    }
    *bytes = rest;
    Ok(number)
}

/// Writes a number behind the bits of `first` that are not its own.
pub(super) fn write(out: &mut Vec<u8>, first: u8, prefix: u32, mut number: usize) {
    let most = (1_usize << prefix) - 1;
    if number < most {
        out.push(first | number as u8);
        return;
    }
    out.push(first | most as u8);
    number -= most;
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
