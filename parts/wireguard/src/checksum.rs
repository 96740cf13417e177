//! The Internet checksum (RFC 1071) over packets of TCP and UDP.

/// The sum of 16-bit words, carries folded, not yet complemented.
pub(crate) fn sum(bytes: &[u8], start: u32) -> u32 {
    // Eight bytes at a time; one's complement sums do not care about the order of words, and byte order is put right at
    // the end (RFC 1071, 2).
    let (words, rest) = bytes.as_chunks::<8>();
    let mut wide: u128 = 0;
    for word in words {
        wide += u128::from(u64::from_ne_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    wide += u128::from(u64::from_ne_bytes(last));
    let mut folded = (wide & u128::from(u64::MAX)) + (wide >> 64);
    folded = (folded & 0xffff_ffff) + (folded >> 32);
    folded = (folded & 0xffff_ffff) + (folded >> 32);
    folded = (folded & 0xffff) + (folded >> 16);
    folded = (folded & 0xffff) + (folded >> 16);
    let native = u16::try_from(folded).expect("folded to 16 bits");
    fold(u32::from(u16::from_be(native)) + start)
}

pub(crate) fn fold(sum: u32) -> u32 {
    let once = (sum & 0xffff) + (sum >> 16);
    (once & 0xffff) + (once >> 16)
}

/// The sum of the pseudo header of an IP packet's content (RFC 8200, 8.1; RFC 9293, 3.1).
pub(crate) fn pseudo_header(addresses: &[u8], protocol: u8, length: usize) -> u32 {
    let length = u32::try_from(length).expect("packets are short");
    let rest = (length >> 16) + (length & 0xffff) + u32::from(protocol);
    sum(addresses, fold(rest))
}

/// What a sum is written as.
pub(crate) fn finish(sum: u32) -> [u8; 2] {
    (!u16::try_from(fold(sum)).expect("folded to 16 bits")).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_plain_sum(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0u32..0xffff) {
            let mut plain = start;
            for pair in bytes.chunks(2) {
                plain += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            }
            // Zero has two forms.
            let (one, other) = (sum(&bytes, start) % 0xffff, fold(plain) % 0xffff);
            prop_assert_eq!(one, other);
        }
    }
}
