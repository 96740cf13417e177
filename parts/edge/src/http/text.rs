//! Numbers and addresses as text, written many times per request: the formatter of the standard library costs several
//! times as much.

use std::io::Write;
use std::net::IpAddr;

/// All numbers of two digits, one after the other.
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[2 * number] = b'0' + (number / 10) as u8;
        pairs[2 * number + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    // Each division waits for the one before it: two digits at a time are half of them.
    while number >= 10 {
        let pair = 2 * (number % 100) as usize;
        number /= 100;
        from -= 2;
        digits[from..from + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if number > 0 || from == digits.len() {
        from -= 1;
        digits[from] = b'0' + number as u8;
    }
    out.extend_from_slice(&digits[from..]);
}

/// Sixteen digits, lower case.
pub(crate) fn push_hex(out: &mut Vec<u8>, number: u64) {
    const LOW: u128 = 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    // Each byte's two halves to bytes of their own: by halves of what is left, all at once.
    let mut spread = u128::from(number);
    for (shift, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, LOW),
    ] {
        spread = (spread | (spread << shift)) & mask;
    }
    // One in each byte of ten and more, for which letters follow.
    let letters = ((spread + 6 * ONES) >> 4) & ONES;
    let digits = spread + u128::from(b'0') * ONES + letters * u128::from(b'a' - b'0' - 10);
    out.extend_from_slice(&digits.to_be_bytes());
}

pub(crate) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let (mut text, mut length) = ([b'.'; 16], 0);
            for part in ip.octets() {
                for power in [100, 10, 1] {
                    if part >= power || power == 1 {
                        text[length] = b'0' + part / power % 10;
                        length += 1;
                    }
                }
                // The point is there already.
                length += 1;
            }
            out.extend_from_slice(&text[..length - 1]);
        }
        // Writing to memory cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn texts_are_those_of_the_standard_library(number: u64, v4: [u8; 4], v6: [u8; 16]) {
            prop_assert_eq!(text(|out| push_decimal(out, number)), number.to_string());
            prop_assert_eq!(text(|out| push_decimal(out, number % 300)), (number % 300).to_string());
            prop_assert_eq!(text(|out| push_hex(out, number)), format!("{number:016x}"));
            for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
                prop_assert_eq!(text(|out| push_ip(out, ip)), ip.to_string());
            }
        }
    }
}
