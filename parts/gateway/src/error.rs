use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use mayfly_net::TlsServerError;
use mayfly_wireguard::InterfaceError;

/// Why a gateway could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("keep the gateway's key in {path}")]
    Key {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("open the gateway's interface")]
    Interface(#[from] InterfaceError),
    #[error("listen at {address} for tunnels over WebSockets")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("make a certificate for tunnels over WebSockets")]
    Certificate(#[from] rcgen::Error),
    #[error("use the certificate for tunnels over WebSockets")]
    Tls(#[from] TlsServerError),
}
