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
pub(crate) fn push_hex(out: &mut String, number: u64) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    out.push_str(std::str::from_utf8(&digits).unwrap_or_default());
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
            let mut hex = String::new();
            push_hex(&mut hex, number);
            prop_assert_eq!(hex, format!("{number:016x}"));
            for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
                prop_assert_eq!(text(|out| push_ip(out, ip)), ip.to_string());
            }
        }
    }
}
