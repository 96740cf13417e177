//! Private addresses asked from this host, for callers outside of the private networks.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket as StdUdpSocket};
use std::time::Duration;

use mayfly_host_api::{Connection, HostError};
use mayfly_types::ErrorKind;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

/// A machine in the same network answers a connection at once; what takes longer is not there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// ICMPv6 types of RFC 4443, 4.1 and 4.2.
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const ICMP_HEADER: usize = 4;

pub(crate) async fn connect(target: SocketAddrV6) -> Result<Connection, HostError> {
    let action = || format!("connect to {target}");
    must_be_private(*target.ip(), action)?;
    let connected = timeout(CONNECT_PATIENCE, TcpStream::connect(target)).await;
    let stream = connected
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| unavailable(action(), source))?;
    // Terminals send single letters, and bulk data fills its packets anyway.
    stream
        .set_nodelay(true)
        .map_err(|source| unavailable(action(), source))?;
    Ok(Box::new(stream))
}

/// `token` tells the answer from those to others.
pub(crate) async fn ping(
    target: Ipv6Addr,
    patience: Duration,
    token: [u8; 16],
) -> Result<Duration, HostError> {
    let action = || format!("ping {target}");
    must_be_private(target, action)?;
    let answered = timeout(patience, echo(target, &token)).await;
    answered
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| unavailable(action(), source))
}

async fn echo(target: Ipv6Addr, token: &[u8]) -> io::Result<Duration> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let raw = socket_with(
        AddressFamily::INET6,
        SocketType::RAW,
        flags,
        Some(ipproto::ICMPV6),
    )?;
    // A raw socket sends and receives datagrams as one of UDP does; the kernel sees to the checksum.
    let socket = UdpSocket::from_std(StdUdpSocket::from(raw))?;
    socket.connect((target, 0)).await?;
    let mut request = vec![ECHO_REQUEST, 0, 0, 0];
    request.extend_from_slice(token);
    let begun = Instant::now();
    socket.send(&request).await?;
    let mut answer = [0; 256];
    loop {
        let length = socket.recv(&mut answer).await?;
        let answer = &answer[..length];
        if answer.first() == Some(&ECHO_REPLY) && answer.get(ICMP_HEADER..) == Some(token) {
            return Ok(begun.elapsed());
        }
    }
}

fn must_be_private(address: Ipv6Addr, action: impl Fn() -> String) -> Result<(), HostError> {
    if address.segments()[0] == 0xfdaa {
        return Ok(());
    }
    Err(HostError::Failed {
        action: action(),
        kind: ErrorKind::Invalid,
        source: "the address is in no private network".into(),
    })
}

fn unavailable(action: String, source: io::Error) -> HostError {
    HostError::Failed {
        action,
        kind: ErrorKind::Unavailable,
        source: source.into(),
    }
}
