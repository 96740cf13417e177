//! The PROXY protocol: who the client is, told ahead of its bytes.
//!
//! Format: <https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>, versions 1 and 2.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mayfly_machine::ProxyProtoVersion;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Section 2.1: the longest line with its end.
const LINE_MAX: usize = 107;
/// Longer headers of version 2 are refused; addresses take 36 bytes, what follows them is passed over.
const EXTENSIONS_MAX: usize = 2048;

/// The connection as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: usize,
    /// `None`: the sender speaks for itself, as balancers' own checks do, or does not know.
    pub(crate) ends: Option<Ends>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY header: {0}")]
pub(crate) struct NoHeader(&'static str);

impl Ends {
    /// The header that `version` has for these ends.
    pub(crate) fn header(&self, version: ProxyProtoVersion) -> Vec<u8> {
        let (client, server) = self.in_one_family();
        match version {
            ProxyProtoVersion::V1 => {
                let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
                format!(
                    "PROXY {family} {} {} {} {}\r\n",
                    client.ip(),
                    server.ip(),
                    client.port(),
                    server.port()
                )
                .into_bytes()
            }
            ProxyProtoVersion::V2 => {
                let mut out = SIGNATURE.to_vec();
                out.push(0x21); // version 2, PROXY
                let (family, length): (u8, u16) = match client {
                    SocketAddr::V4(_) => (0x11, 12),
                    SocketAddr::V6(_) => (0x21, 36),
                };
                out.push(family);
                out.extend_from_slice(&length.to_be_bytes());
                for ip in [client.ip(), server.ip()] {
                    match ip {
                        IpAddr::V4(ip) => out.write_all(&ip.octets()),
                        IpAddr::V6(ip) => out.write_all(&ip.octets()),
                    }
                    .expect("a vector takes every byte");
                }
                out.extend_from_slice(&client.port().to_be_bytes());
                out.extend_from_slice(&server.port().to_be_bytes());
                out
            }
        }
    }

    /// Both in IPv4 if both can be, otherwise both in IPv6: a header has one family.
    fn in_one_family(&self) -> (SocketAddr, SocketAddr) {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let wide = |end: SocketAddr| match end.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
            IpAddr::V6(_) => end,
        };
        let (client, server) = (plain(self.client), plain(self.server));
        if client.is_ipv4() == server.is_ipv4() {
            (client, server)
        } else {
            (wide(client), wide(server))
        }
    }
}

impl Header {
    /// Reads a header of either version; `None` means that more bytes are needed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
        let begins = |with: &[u8]| {
            let common = bytes.len().min(with.len());
            bytes[..common] == with[..common]
        };
        if bytes.is_empty() {
            Ok(None)
        } else if begins(SIGNATURE) {
            parse_v2(bytes)
        } else if begins(b"PROXY ") {
            parse_v1(bytes)
        } else {
            Err(NoHeader("it begins otherwise"))
        }
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let within = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= LINE_MAX {
            Err(NoHeader("the line has no end"))
        } else {
            Ok(None)
        };
    };
    let length = end + 2;
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| NoHeader("it is not ASCII"))?;
    let words: Vec<&str> = line.split(' ').collect();
    let ends = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            client_ip,
            server_ip,
            client_port,
            server_port,
        ] => {
            let end = |ip: &str, port: &str| -> Option<SocketAddr> {
                let ip: IpAddr = ip.parse().ok()?;
                let canonical = port == "0" || !port.starts_with(['0', '+']);
                (ip.is_ipv4() == (family == "TCP4") && canonical)
                    .then(|| Some(SocketAddr::new(ip, port.parse().ok()?)))?
            };
            let client = end(client_ip, client_port).ok_or(NoHeader("the client's address"))?;
            let server = end(server_ip, server_port).ok_or(NoHeader("the server's address"))?;
            Some(Ends { client, server })
        }
        _ => return Err(NoHeader("the words of its line")),
    };
    Ok(Some(Header { length, ends }))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let Some((start, rest)) = bytes.split_at_checked(SIGNATURE.len() + 4) else {
        return Ok(None);
    };
    let (command, family) = (start[12], start[13]);
    let size = usize::from(u16::from_be_bytes([start[14], start[15]]));
    if size > EXTENSIONS_MAX {
        return Err(NoHeader("it is too long"));
    }
    let Some(data) = rest.get(..size) else {
        return Ok(None);
    };
    let ends = match (command, family) {
        (0x20, _) => None,
        (0x21, 0x11) => Some(ends_v2::<4>(data).ok_or(NoHeader("its addresses"))?),
        (0x21, 0x21) => Some(ends_v2::<16>(data).ok_or(NoHeader("its addresses"))?),
        (0x21, _) => None,
        _ => return Err(NoHeader("its version or command")),
    };
    Ok(Some(Header {
        length: start.len() + size,
        ends,
    }))
}

fn ends_v2<const BYTES: usize>(data: &[u8]) -> Option<Ends> {
    let ip = |from: usize| -> Option<IpAddr> {
        let bytes = data.get(from..from + BYTES)?;
        if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
            return Some(Ipv4Addr::from(bytes).into());
        }
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
    };
    let port = |from: usize| -> Option<u16> {
        Some(u16::from_be_bytes(
            data.get(from..from + 2)?.try_into().ok()?,
        ))
    };
    Some(Ends {
        client: SocketAddr::new(ip(0)?, port(2 * BYTES)?),
        server: SocketAddr::new(ip(BYTES)?, port(2 * BYTES + 2)?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERSIONS: [ProxyProtoVersion; 2] = [ProxyProtoVersion::V1, ProxyProtoVersion::V2];

    fn ends(client: &str, server: &str) -> Ends {
        Ends {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let v4 = ends("192.0.2.1:56324", "203.0.113.9:443");
        assert_eq!(
            v4.header(ProxyProtoVersion::V1),
            b"PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\r\n"
        );
        assert_eq!(
            v4.header(ProxyProtoVersion::V2),
            [
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
                &[192, 0, 2, 1, 203, 0, 113, 9, 0xdc, 0x04, 0x01, 0xbb]
            ]
            .concat()
        );
        let mixed = ends("[2001:db8::1]:1", "203.0.113.9:443");
        assert_eq!(
            mixed.header(ProxyProtoVersion::V1),
            b"PROXY TCP6 2001:db8::1 ::ffff:203.0.113.9 1 443\r\n"
        );
        let mapped = ends("[::ffff:192.0.2.1]:56324", "203.0.113.9:443");
        assert_eq!(
            mapped.header(ProxyProtoVersion::V2),
            v4.header(ProxyProtoVersion::V2)
        );
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.1 203.0.113.9 56324\r\n",
            b"PROXY TCP4 192.0.2.1 203.0.113.9 56324 443 \r\n",
            b"PROXY TCP4 192.0.2.1 ::1 56324 443\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.1 56324 443\r\n",
            b"PROXY TCP4 192.0.2.1 203.0.113.9 +1 443\r\n",
            b"PROXY TCP4 192.0.2.1 203.0.113.9 1 70000\r\n",
            b"PROXY UDP4 192.0.2.1 203.0.113.9 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04aaaa",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ] {
            let mut padded = bytes.to_vec();
            padded.resize(padded.len().max(LINE_MAX), b'x');
            assert!(
                Header::parse(&padded).is_err(),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
        for own in [
            &b"PROXY UNKNOWN\r\n"[..],
            b"PROXY UNKNOWN a b\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        ] {
            let header = Header::parse(own).unwrap().unwrap();
            assert_eq!((header.length, header.ends), (own.len(), None));
        }
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let v4 = any::<[u8; 4]>().prop_map(|ip| IpAddr::from(Ipv4Addr::from(ip)));
        let v6 = any::<[u8; 16]>().prop_map(|ip| IpAddr::from(Ipv6Addr::from(ip)));
        (prop_oneof![v4, v6], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(client in address(), server in address(), cut in any::<prop::sample::Index>(), after in any::<[u8; 3]>()) {
            let ends = Ends { client, server };
            let (client, server) = ends.in_one_family();
            for version in VERSIONS {
                let bytes = ends.header(version);
                let header = Header { length: bytes.len(), ends: Some(Ends { client, server }) };
                prop_assert_eq!(Header::parse(&[&bytes[..], &after].concat()), Ok(Some(header)));
                prop_assert_eq!(Header::parse(&bytes[..cut.index(bytes.len())]), Ok(None));
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0usize..4) {
            let starts: [&[u8]; 4] = [b"", b"PROXY ", b"PROXY TCP6 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"];
            let bytes = [starts[start], &bytes].concat();
            if let Ok(Some(header)) = Header::parse(&bytes) {
                prop_assert!(header.length <= bytes.len());
            }
        }
    }
}
