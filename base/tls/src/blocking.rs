use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::{Trust, client_config};

/// A connection whose calls block as long as those of the stream below do.
#[derive(Debug)]
pub struct BlockingTls(StreamOwned<ClientConnection, TcpStream>);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("`{0}` is not a server name")]
    ServerName(String),
    #[error("begin the TLS handshake")]
    Begin(#[source] rustls::Error),
    /// The certificate was refused, the other side spoke no TLS, hung up, or took longer than the stream's time limits.
    #[error("TLS handshake")]
    Handshake(#[source] io::Error),
}

/// Whether a certificate can be for this name: one of the DNS, or an address.
pub fn is_server_name(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

impl BlockingTls {
    /// Shakes hands with the other side of `stream`, which must have a certificate for `name`.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(
        mut stream: TcpStream,
        name: &str,
        trust: Trust,
    ) -> Result<BlockingTls, ConnectError> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| ConnectError::ServerName(name.to_owned()))?;
        let mut session = ClientConnection::new(Arc::new(client_config(trust)), server)
            .map_err(ConnectError::Begin)?;
        while session.is_handshaking() {
            session
                .complete_io(&mut stream)
                .map_err(ConnectError::Handshake)?;
        }
        Ok(BlockingTls(StreamOwned::new(session, stream)))
    }
}

impl Read for BlockingTls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for BlockingTls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    use rustls::{ServerConfig, ServerConnection};

    use super::*;

    /// Answers one connection with `hello`, and ends.
    fn server(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (u16, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = certificate.signing_key.serialize_der();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate.cert.der().to_vec())],
                PrivatePkcs8KeyDer::from(key).into(),
            )
            .unwrap();
        let serve = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let session = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            // A client that refuses the certificate hangs up in here.
            let _ = stream
                .write_all(b"hello")
                .and_then(|()| stream.flush())
                .inspect(|()| stream.conn.send_close_notify())
                .and_then(|()| stream.flush());
        });
        (port, serve)
    }

    #[test]
    fn certificates_are_for_a_name_and_from_an_authority() {
        let known = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let bundle = |of: &rcgen::CertifiedKey<rcgen::KeyPair>| {
            let der = STANDARD.encode(of.cert.der());
            let pem = format!(
                "# a comment\n-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n"
            );
            Trust::bundle(pem.as_bytes())
        };
        for (trust, name, taken) in [
            (bundle(&known), "localhost", true),
            (bundle(&known), "example.com", false),
            (bundle(&other), "localhost", false),
            (Trust::bundle(b"no certificate"), "localhost", false),
            (Trust::Anyone, "example.com", true),
        ] {
            let (port, serve) = server(&known);
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let case = format!("{name} {trust:?}");
            match BlockingTls::connect(stream, name, trust) {
                Ok(mut stream) => {
                    let mut read = String::new();
                    stream.read_to_string(&mut read).unwrap();
                    assert!(taken && read == "hello", "{case}: {read}");
                }
                Err(error) => {
                    assert!(
                        !taken && matches!(error, ConnectError::Handshake(_)),
                        "{case}: {error:?}"
                    );
                }
            }
            serve.join().unwrap();
        }
    }

    #[test]
    fn names_are_of_the_dns_or_addresses() {
        for (name, wanted) in [
            ("web.internal", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("two words", false),
            ("", false),
        ] {
            assert_eq!(is_server_name(name), wanted, "{name}");
        }
    }
}
