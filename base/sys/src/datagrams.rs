//! Several datagrams per system call: `recvmmsg(2)` and `sendmmsg(2)`, which no safe crate offers.

use std::io;
use std::mem;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use crate::checked;

/// Room for datagrams that arrive together at an IPv6 socket.
pub struct Arrivals {
    size: usize,
    bytes: Vec<u8>,
    senders: Vec<libc::sockaddr_in6>,
    lengths: Vec<usize>,
}

impl Arrivals {
    /// For at most `count` datagrams at a time, of at most `size` bytes each; what is longer is cut.
    pub fn new(count: usize, size: usize) -> Arrivals {
        Arrivals {
            size,
            bytes: vec![0; count * size],
            senders: vec![no_address(); count],
            lengths: Vec::with_capacity(count),
        }
    }

    /// Takes what has arrived, at least one datagram.
    ///
    /// # Errors
    /// `WouldBlock` if the socket does not block and nothing is there; nothing is held then.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.lengths.clear();
        let mut parts: Vec<libc::iovec> = self
            .bytes
            .chunks_mut(self.size)
            .map(|chunk| libc::iovec {
                iov_base: chunk.as_mut_ptr().cast(),
                iov_len: chunk.len(),
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .zip(&mut self.senders)
            .map(|(part, sender)| header(part, sender))
            .collect();
        let count = libc::c_uint::try_from(headers.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: every header points to one buffer and one address that live, unmoved and referred to by nothing else,
        // until the call returns, and the lengths given are theirs. Run by `datagrams_come_and_go_together`.
        let received = checked(unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        })?;
        let received = usize::try_from(received).unwrap_or(0);
        let taken = headers.iter().take(received);
        self.lengths
            .extend(taken.map(|header| header.msg_len as usize));
        Ok(received)
    }

    /// What the last call took, with its senders.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddrV6)> {
        let bytes = self.bytes.chunks(self.size).zip(&self.lengths);
        bytes.zip(&self.senders).map(|((chunk, length), sender)| {
            let ip = Ipv6Addr::from(sender.sin6_addr.s6_addr);
            let port = u16::from_be(sender.sin6_port);
            let address = SocketAddrV6::new(ip, port, sender.sin6_flowinfo, sender.sin6_scope_id);
            (&chunk[..(*length).min(chunk.len())], address)
        })
    }
}

/// Datagrams that shall leave together.
#[derive(Default)]
pub struct Departures {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    receivers: Vec<libc::sockaddr_in6>,
}

impl Departures {
    /// Adds a datagram, which `write` appends to what it is given.
    pub fn push(&mut self, to: SocketAddrV6, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
        self.receivers.push(libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: to.port().to_be(),
            sin6_flowinfo: to.flowinfo(),
            sin6_addr: libc::in6_addr {
                s6_addr: to.ip().octets(),
            },
            sin6_scope_id: to.scope_id(),
        });
    }

    /// Sends what was added, as far as the kernel takes it at once; the rest is given up, as a network would. How many
    /// left.
    pub fn send(&mut self, socket: impl AsFd) -> usize {
        let mut start = 0;
        let mut parts: Vec<libc::iovec> = self
            .ends
            .iter()
            .map(|end| {
                let part = &mut self.bytes[start..*end];
                start = *end;
                libc::iovec {
                    iov_base: part.as_mut_ptr().cast(),
                    iov_len: part.len(),
                }
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .zip(&mut self.receivers)
            .map(|(part, receiver)| header(part, receiver))
            .collect();
        let mut sent = 0;
        let mut at = 0;
        while at < headers.len() {
            let rest = &mut headers[at..];
            let count = libc::c_uint::try_from(rest.len()).unwrap_or(libc::c_uint::MAX);
            // SAFETY: as in `receive`; the kernel only reads.
            let left = checked(unsafe {
                libc::sendmmsg(
                    socket.as_fd().as_raw_fd(),
                    rest.as_mut_ptr(),
                    count,
                    libc::MSG_DONTWAIT,
                )
            });
            match left {
                Ok(left) => {
                    let left = usize::try_from(left).unwrap_or(0).max(1);
                    sent += left;
                    at += left;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // About the first of the rest only, such as a receiver that cannot be reached.
                Err(_) => at += 1,
            }
        }
        self.bytes.clear();
        self.ends.clear();
        self.receivers.clear();
        sent
    }
}

fn no_address() -> libc::sockaddr_in6 {
    // SAFETY: plain numbers, for which zero is a value. No safe constructor exists. Run by every use of `Arrivals`.
    unsafe { mem::zeroed() }
}

fn header(part: &mut libc::iovec, address: &mut libc::sockaddr_in6) -> libc::mmsghdr {
    // SAFETY: plain numbers and pointers, for which zero is a value; the type has private padding on some platforms, so
    // it cannot be written out. Run by every use of `Arrivals`.
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
    header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn datagrams_come_and_go_together() {
        let bind = || UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let (server, client) = (bind(), bind());
        let address = |socket: &UdpSocket| match socket.local_addr().unwrap() {
            std::net::SocketAddr::V6(address) => address,
            std::net::SocketAddr::V4(_) => unreachable!("bound to IPv6"),
        };
        let mut arrivals = Arrivals::new(4, 8);
        let empty = arrivals.receive(&server).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(arrivals.iter().count(), 0);

        let mut departures = Departures::default();
        for text in ["one", "two", "longer than eight", "", "five"] {
            departures.push(address(&server), |out| out.extend(text.bytes()));
        }
        assert_eq!(departures.send(&client), 5);
        assert_eq!(arrivals.receive(&server).unwrap(), 4);
        let taken: Vec<(Vec<u8>, SocketAddrV6)> = arrivals
            .iter()
            .map(|(bytes, from)| (bytes.to_vec(), from))
            .collect();
        let texts = ["one", "two", "longer t", ""];
        for ((bytes, from), text) in taken.iter().zip(texts) {
            assert_eq!(bytes, text.as_bytes());
            assert_eq!(*from, address(&client));
        }
        assert_eq!(arrivals.receive(&server).unwrap(), 1);
        assert_eq!(departures.send(&client), 0, "sent once");
    }
}
