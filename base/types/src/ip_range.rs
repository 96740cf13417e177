use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::text::serde_as_text;

/// The addresses that share their first bits, written `10.0.0.0/8` or `2001:db8::/32`; an address alone is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    first: IpAddr,
    prefix_length: u8,
}

/// A text that is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no range of addresses: write it like 10.0.0.0/8 or 2001:db8::/32")]
pub struct InvalidIpRange(String);

impl IpRange {
    /// The range of `prefix_length` that `ip` lies in; `None` if an address has fewer bits.
    pub fn new(ip: IpAddr, prefix_length: u8) -> Option<IpRange> {
        let width = width(ip);
        let host_bits = u32::from(width.checked_sub(prefix_length)?);
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(IpRange {
            first: with_bits(ip, bits(ip) & mask),
            prefix_length,
        })
    }

    pub fn first(&self) -> IpAddr {
        self.first
    }

    pub fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// How many addresses the range has, at most 2¹²⁷.
    pub fn size(&self) -> u128 {
        1 << u32::from(width(self.first) - self.prefix_length).min(127)
    }

    /// Address number `index`, counted from 0.
    pub fn nth(&self, index: u128) -> Option<IpAddr> {
        (index < self.size()).then(|| with_bits(self.first, bits(self.first) | index))
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && IpRange::new(ip, self.prefix_length) == Some(*self)
    }
}

impl From<IpAddr> for IpRange {
    fn from(ip: IpAddr) -> Self {
        IpRange {
            first: ip,
            prefix_length: width(ip),
        }
    }
}

impl FromStr for IpRange {
    type Err = InvalidIpRange;

    fn from_str(text: &str) -> Result<Self, InvalidIpRange> {
        let parse = || {
            let Some((ip, length)) = text.split_once('/') else {
                return Some(IpRange::from(text.parse::<IpAddr>().ok()?));
            };
            IpRange::new(ip.parse().ok()?, length.parse().ok()?)
        };
        parse().ok_or_else(|| InvalidIpRange(text.to_owned()))
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_length)
    }
}

serde_as_text!(IpRange);

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => {
            let bits = u32::try_from(bits & u128::from(u32::MAX)).expect("masked to 32 bits");
            Ipv4Addr::from_bits(bits).into()
        }
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_counted_and_written() {
        for (text, written, size, last) in [
            ("127.80.3.0/16", "127.80.0.0/16", 1 << 16, "127.80.255.255"),
            ("192.0.2.7", "192.0.2.7/32", 1, "192.0.2.7"),
            ("fd6d::5/120", "fd6d::/120", 256, "fd6d::ff"),
            ("0.0.0.0/0", "0.0.0.0/0", 1 << 32, "255.255.255.255"),
        ] {
            let range: IpRange = text.parse().unwrap();
            assert_eq!((range.to_string().as_str(), range.size()), (written, size));
            let found = range.nth(size - 1).unwrap();
            assert_eq!(found.to_string(), last);
            assert!(range.contains(found) && range.contains(range.first()));
            assert_eq!(range.nth(size), None);
        }
        let range: IpRange = "127.80.0.0/16".parse().unwrap();
        assert!(!range.contains("127.81.0.0".parse().unwrap()));
        assert!(!range.contains("::1".parse().unwrap()));
        for text in ["", "10.0.0.0/33", "here/8", "::/129", "10.0.0.0/-1"] {
            assert!(text.parse::<IpRange>().is_err(), "{text}");
        }
    }
}
