//! Numbers and addresses as text, written many times per request: the formatter of the standard library costs several
//! times as much.

use std::io::Write;
use std::net::IpAddr;

pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}

/// Sixteen digits, lower case.
pub(crate) fn push_hex(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 16];
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * place)) as usize & 15];
    }
    out.extend_from_slice(&digits);
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
