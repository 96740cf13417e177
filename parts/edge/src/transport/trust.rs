use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that share their first bits: those of a load balancer whose word about its clients is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    ip: IpAddr,
    bits: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address and no range of addresses: write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
)]
pub struct InvalidRange(String);

impl AddressRange {
    pub fn contains(&self, ip: IpAddr) -> bool {
        let same_start = |one: u128, other: u128, width: u32| {
            let differing = (one ^ other).leading_zeros().saturating_sub(128 - width);
            differing >= u32::from(self.bits)
        };
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same_start(own.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same_start(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for AddressRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let parse = || -> Option<AddressRange> {
            let (ip, bits) = match text.split_once('/') {
                Some((ip, bits)) => (ip, Some(bits.parse().ok()?)),
                None => (text, None),
            };
            let ip: IpAddr = ip.parse().ok()?;
            let width = if ip.is_ipv4() { 32 } else { 128 };
            let bits = bits.unwrap_or(width);
            (bits <= width).then_some(AddressRange { ip, bits })
        };
        parse().ok_or_else(|| InvalidRange(text.to_owned()))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.ip, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_begins_alike() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.128/25", "::ffff:192.0.2.200", "192.0.2.127"),
            ("2001:db8::/32", "2001:db8:1::", "2001:db9::"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("::1", "::1", "::2"),
        ] {
            let range: AddressRange = range.parse().unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(
                !range.contains(outside.parse().unwrap()),
                "{range} {outside}"
            );
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }
}
