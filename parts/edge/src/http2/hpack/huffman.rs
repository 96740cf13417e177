//! The code that strings may be written in (RFC 7541, appendix B).

use super::decoder::Broken;

/// Bits of the code of each byte, and of the end of a string. Codes follow from their lengths: shorter ones come first,
/// and among those of one length the smaller byte.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const END_OF_STRING: u16 = 256;
/// Codes of up to so many bits, which text is made of, are looked up at once.
const SHORT: u32 = 10;
const LONGEST: usize = 30;

static CODE: Code = Code::new();

struct Code {
    /// By the next bits: the byte and the bits of its code, 0 if that is longer.
    short: [(u8, u8); 1 << SHORT],
    /// Symbols in the order of their codes.
    symbols: [u16; 257],
    /// By length: one more than its last code, and what its codes are to be lowered by to be places in `symbols`.
    ends: [u32; LONGEST + 1],
    shifts: [i32; LONGEST + 1],
}

impl Code {
    const fn new() -> Code {
        let mut code = Code {
            short: [(0, 0); 1 << SHORT],
            symbols: [0; 257],
            ends: [0; LONGEST + 1],
            shifts: [0; LONGEST + 1],
        };
        let (mut next, mut place, mut length) = (0_u32, 0, 1);
        while length <= LONGEST {
            code.shifts[length] = next as i32 - place as i32;
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[place] = symbol as u16;
                    place += 1;
                    if length <= SHORT as usize {
                        let free = SHORT as usize - length;
                        let mut rest = 0;
                        while rest < 1 << free {
                            code.short[((next as usize) << free) + rest] =
                                (symbol as u8, length as u8);
                            rest += 1;
                        }
                    }
                    next += 1;
                }
                symbol += 1;
            }
            code.ends[length] = next;
            next <<= 1;
            length += 1;
        }
        code
    }

    /// The symbol that `bits` begin with, and its length.
    fn long(&self, bits: u64) -> Option<(u16, u32)> {
        (SHORT as usize + 1..=LONGEST).find_map(|length| {
            let code = (bits >> (64 - length)) as u32;
            (code < self.ends[length]).then(|| {
                let place = code.wrapping_sub(self.shifts[length] as u32) as usize;
                (self.symbols[place], length as u32)
            })
        })
    }
}

/// Appends what `coded` says to `out`.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    out.reserve(coded.len() * 8 / 5);
    // The next bits are the highest; behind those we have there are zeros.
    let (mut bits, mut have) = (0_u64, 0_u32);
    let mut rest = coded.iter();
    loop {
        while have <= 56
            && let Some(byte) = rest.next()
        {
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        let (byte, length) = match CODE.short[(bits >> (64 - SHORT)) as usize] {
            (_, 0) => match CODE.long(bits) {
                Some((symbol, length)) if symbol != END_OF_STRING => (symbol as u8, length),
                _ if have < 8 => (0, u32::MAX),
                _ => return Err(Broken),
            },
            (byte, length) => (byte, u32::from(length)),
        };
        if length > have {
            // The beginning of the end of string fills the last byte.
            let padding = u64::MAX.checked_shl(64 - have).unwrap_or(0);
            return if have < 8 && bits == padding {
                Ok(())
            } else {
                Err(Broken)
            };
        }
        out.push(byte);
        bits <<= length;
        have -= length;
    }
}
