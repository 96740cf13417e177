//! TLS from clients: which certificate, which options, and the handshake.

mod client_hello;
mod handshake;
mod record;
mod store;
mod stream;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_machine::{Alpn, TlsOptions, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub(crate) use client_hello::{ClientHello, NotHello};
pub(crate) use handshake::Agreed;
pub(crate) use store::{CertificateError, CertificateStore};
pub(crate) use stream::TlsStream;

/// How long a client may take from its first byte until application data may flow.
pub(crate) const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// The protocols the HTTP handler speaks, most wanted first.
const HTTP_PROTOCOLS: [Alpn; 2] = [Alpn::H2, Alpn::Http11];

/// What TLS needs, shared by all cores: session tickets made on one are understood on the others.
pub(crate) struct Tls {
    pub(crate) certificates: Arc<CertificateStore>,
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    configs: Mutex<HashMap<Profile, Arc<ServerConfig>>>,
}

/// Everything about a port that a handshake depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Profile {
    alpn: Vec<Vec<u8>>,
    tls12: bool,
    tls13: bool,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    Serve,
    /// A name without a certificate gets our own.
    ServeAny,
    Prove,
}

/// What is spoken under TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    Raw,
    Http,
    Postgres,
}

/// What a client has sent until its first message was whole.
pub(crate) struct Greeting {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hello: ClientHello,
}

/// Why a connection did not come to speak TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("read the first message")]
    Read(#[source] io::Error),
    #[error("the client left")]
    Left,
    #[error("understand the first message")]
    NotHello(#[source] NotHello, Vec<u8>),
    #[error("shake hands")]
    Refused(#[source] io::Error),
    #[error("the handshake took longer than {HANDSHAKE_PATIENCE:?}")]
    Late,
}

impl HandshakeError {
    fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HandshakeError {
        HandshakeError::Refused(io::Error::other(error))
    }
}

impl Tls {
    pub(crate) fn new(domain: &str) -> Result<Tls, CertificateError> {
        Ok(Tls {
            certificates: Arc::new(CertificateStore::new(domain)?),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            tickets: rustls::crypto::ring::Ticketer::new()?,
            configs: Mutex::default(),
        })
    }

    /// Ends TLS for a port with `options`.
    ///
    /// Not cancellable without losing the connection.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        greeting: Greeting,
        options: &TlsOptions,
        inside: Inside,
    ) -> Result<(TlsStream, Agreed), HandshakeError> {
        let profile = Profile::of(options, inside);
        self.shake_hands(stream, greeting, profile).await
    }

    /// Whether a proof for this name is open; where it is not, the app may make its own.
    pub(crate) fn can_prove(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.certificates.proof(name).is_some())
    }

    /// Shows the certificate that proves ownership; there is nothing to say afterwards.
    pub(crate) async fn prove(
        &self,
        stream: TcpStream,
        greeting: Greeting,
    ) -> Result<(), HandshakeError> {
        let profile = Profile {
            alpn: vec![b"acme-tls/1".to_vec()],
            tls12: true,
            tls13: true,
            purpose: Purpose::Prove,
        };
        self.shake_hands(stream, greeting, profile).await.map(drop)
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        greeting: Greeting,
        profile: Profile,
    ) -> Result<(TlsStream, Agreed), HandshakeError> {
        let config = self.config(profile).map_err(HandshakeError::refused)?;
        handshake::shake_hands(stream, greeting.bytes, config).await
    }

    fn config(&self, profile: Profile) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut configs = self.configs.lock().expect("no holder of this lock panics");
        if let Some(config) = configs.get(&profile) {
            return Ok(Arc::clone(config));
        }
        let versions: &[_] = match (profile.tls12, profile.tls13) {
            (true, false) => &[&TLS12],
            (false, true) => &[&TLS13],
            _ => &[&TLS13, &TLS12],
        };
        let resolver = Resolver {
            certificates: Arc::clone(&self.certificates),
            purpose: profile.purpose,
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols.clone_from(&profile.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&self.tickets);
        // Records are sealed and opened by us.
        config.enable_secret_extraction = true;
        let config = Arc::new(config);
        configs.insert(profile, Arc::clone(&config));
        Ok(config)
    }
}

impl Profile {
    fn of(options: &TlsOptions, inside: Inside) -> Profile {
        let names = |protocols: &[Alpn]| -> Vec<Vec<u8>> {
            let names = protocols.iter().map(Alpn::as_str);
            names.map(|name| name.as_bytes().to_vec()).collect()
        };
        let alpn = match inside {
            Inside::Raw => names(&options.alpn),
            // Clients that begin with TLS insist on it.
            Inside::Postgres => vec![b"postgresql".to_vec()],
            Inside::Http if options.alpn.is_empty() => names(&HTTP_PROTOCOLS),
            Inside::Http => {
                let mut wanted = options.alpn.clone();
                wanted.retain(|protocol| HTTP_PROTOCOLS.contains(protocol));
                names(&wanted)
            }
        };
        let accepts = |version| options.versions.is_empty() || options.versions.contains(&version);
        Profile {
            alpn,
            tls12: accepts(TlsVersion::Tls12),
            tls13: accepts(TlsVersion::Tls13),
            purpose: if options.default_self_signed {
                Purpose::ServeAny
            } else {
                Purpose::Serve
            },
        }
    }
}

#[derive(Debug)]
struct Resolver {
    certificates: Arc<CertificateStore>,
    purpose: Purpose,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        match (self.purpose, name) {
            (Purpose::Prove, name) => self.certificates.proof(&name?),
            (Purpose::Serve, Some(name)) => self.certificates.find(&name),
            (Purpose::ServeAny, Some(name)) => {
                let found = self.certificates.find(&name);
                found.or_else(|| Some(self.certificates.own()))
            }
            (Purpose::Serve | Purpose::ServeAny, None) => Some(self.certificates.nameless()),
        }
    }
}

/// Reads a client's first message, whatever pieces it comes in.
pub(crate) async fn read_greeting(stream: &mut TcpStream) -> Result<Greeting, HandshakeError> {
    let mut bytes = Vec::with_capacity(2048);
    loop {
        let count = stream
            .read_buf(&mut bytes)
            .await
            .map_err(HandshakeError::Read)?;
        if count == 0 {
            return Err(HandshakeError::Left);
        }
        match ClientHello::parse(&bytes) {
            Ok(Some(hello)) => return Ok(Greeting { bytes, hello }),
            // Headers of records may double what a message needs, not more.
            Ok(None) if bytes.len() <= 2 * client_hello::HELLO_MAX => {}
            Ok(None) => return Err(HandshakeError::NotHello(NotHello::TooLarge, bytes)),
            Err(error) => return Err(HandshakeError::NotHello(error, bytes)),
        }
    }
}
