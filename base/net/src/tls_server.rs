use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Ends TLS for one listener with one certificate, whatever name a client asks for. Cheap to clone.
#[derive(Clone)]
pub struct TlsServer(TlsAcceptor);

/// A certificate and a key that do not go together, or that rustls cannot use.
#[derive(Debug, thiserror::Error)]
#[error("use a certificate for a listener")]
pub struct TlsServerError(#[from] rustls::Error);

/// A connection whose TLS ends here.
pub type TlsServerStream = TlsStream<TcpStream>;

impl TlsServer {
    /// `chain` holds certificates in DER, leaf first; `key` is PKCS #8.
    pub fn new(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<TlsServer, TlsServerError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(TlsServer(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake. It has no limit of time of its own.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsServerStream> {
        self.0.accept(stream).await
    }
}
