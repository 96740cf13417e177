use std::io;
use std::net::SocketAddr;

/// Why a tunnel interface could not be opened or kept.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    #[error("make the tunnel interface {name}")]
    Tun {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("use the kernel's WireGuard as {name}")]
    Kernel {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("open a socket for datagrams that are carried to the kernel's WireGuard")]
    Relay(#[source] io::Error),
    #[error("listen for WireGuard at {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("read packets of the tunnel interface {name}")]
    Read {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("receive datagrams at {address}")]
    Receive {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}
