use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpSocket, TcpStream};

/// Connections that wait to be accepted; above it the kernel lets clients retry.
const BACKLOG: i32 = 4096;

/// One listener per core for `wanted`, and where they listen: inherited ones if there are any, else new ones.
///
/// # Errors
/// Also when another process of ours listens there: the first listener is bound without `SO_REUSEPORT` to find out.
pub(super) fn shared(
    wanted: SocketAddr,
    cores: usize,
    inherited: &[TcpListener],
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let ours: Vec<&TcpListener> = inherited
        .iter()
        .filter(|listener| listener.local_addr().is_ok_and(|address| address == wanted))
        .collect();
    if !ours.is_empty() {
        let sockets = (0..cores)
            .map(|core| {
                let socket = ours[core % ours.len()].try_clone()?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect::<io::Result<Vec<_>>>()?;
        return Ok((wanted, sockets));
    }
    let probe = TcpListener::bind(wanted)?;
    let address = probe.local_addr()?;
    drop(probe);
    let sockets = (0..cores)
        .map(|_| listen(address))
        .collect::<io::Result<Vec<_>>>()?;
    Ok((address, sockets))
}

/// A listener that shares its address with those of the other cores.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = reusable(address, SocketType::STREAM)?;
    if address.ip().is_loopback() {
        stays_here(&socket);
    }
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Connects to an address of this server.
pub(crate) async fn connect_here(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    stays_here(&socket);
    socket.connect(address).await
}

/// Spares connections that do not leave this server what is made for long ways: where the system's congestion control is
/// BBR, segments are paced, with a timer and calculations for each. Only a socket that is not connected yet can do
/// without: pacing that has begun goes on under another control.
fn stays_here(socket: impl AsFd) {
    // The one that every kernel has and lets everybody use. A socket that refuses it costs more and works.
    let _ = sockopt::set_tcp_congestion(socket, "reno");
}

/// A socket for datagrams of everybody.
pub(super) fn datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    reusable(address, SocketType::DGRAM).map(UdpSocket::from)
}

fn reusable(address: SocketAddr, kind: SocketType) -> io::Result<std::os::fd::OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, kind, flags, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    Ok(socket)
}
