//! Mutual TLS between the roles of a fleet: both sides show a certificate of one authority.

use std::io;
use std::sync::{Arc, RwLock};

use mayfly_tls::{OwnJudgement, Shown};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// What a role shows, and the authority it believes. Everything is PEM; the key is PKCS #8.
pub struct RolePapers<'a> {
    /// Leaf first.
    pub chain: &'a str,
    pub key: &'a str,
    pub root: &'a str,
}

/// Why papers are of no use.
#[derive(Debug, thiserror::Error)]
#[error("use the {what} of this role: {reason}")]
pub struct PapersError {
    what: &'static str,
    reason: String,
}

/// Opens and takes connections as one role. New papers hold for connections made from then on.
pub struct MutualTls(RwLock<Configs>);

#[derive(Clone)]
struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// A connection both ends of which are known; on the accepting side the other may have shown nothing.
pub type MutualStream = TlsStream<TcpStream>;

impl MutualTls {
    pub fn new(papers: &RolePapers<'_>) -> Result<Self, PapersError> {
        Ok(Self(RwLock::new(configs(papers)?)))
    }

    pub fn renew(&self, papers: &RolePapers<'_>) -> Result<(), PapersError> {
        *self.0.write().expect("no holder of this lock panics") = configs(papers)?;
        Ok(())
    }

    /// The other side must show a certificate for `name`.
    pub async fn connect(&self, stream: TcpStream, name: &str) -> io::Result<MutualStream> {
        handshake(self.configs().client, stream, name).await
    }

    /// Whoever connects may show a certificate of the authority, and none else; the leaf comes back in DER.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(MutualStream, Option<Vec<u8>>)> {
        let accepted = TlsAcceptor::from(self.configs().server)
            .accept(stream)
            .await?;
        let shown = accepted.get_ref().1.peer_certificates();
        let leaf = shown
            .and_then(|chain| chain.first())
            .map(|leaf| leaf.to_vec());
        Ok((accepted.into(), leaf))
    }

    fn configs(&self) -> Configs {
        self.0
            .read()
            .expect("no holder of this lock panics")
            .clone()
    }
}

/// Connects to a role of a fleet of which only the fingerprint of its authority is known, showing nothing. Returns the
/// authority's certificate (DER) as the last of the chain that `name` showed; `is_authority` decides about it.
pub async fn connect_by_fingerprint(
    stream: TcpStream,
    name: &str,
    is_authority: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
) -> io::Result<(MutualStream, Vec<u8>)> {
    let provider = provider();
    let webpki = provider.clone();
    // The last certificate of a chain is believed if the caller says so, and the first as signed by that one.
    let verifier = OwnJudgement::new(provider.clone(), move |shown: &Shown<'_>| {
        let root = shown.others.last().filter(|root| is_authority(root));
        let root = root.ok_or_else(|| {
            rustls::Error::General("it is not of the fleet that the token is for".to_owned())
        })?;
        WebPkiServerVerifier::builder_with_provider(roots(root.clone())?, webpki.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(shown.leaf, shown.others, shown.name, shown.ocsp, shown.now)
            .map(|_| ())
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let stream = handshake(Arc::new(config), stream, name).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let root = chain.last().ok_or(io::ErrorKind::InvalidData)?.to_vec();
    Ok((stream, root))
}

async fn handshake(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    name: &str,
) -> io::Result<MutualStream> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connected = TlsConnector::from(config).connect(name, stream).await?;
    Ok(connected.into())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn configs(papers: &RolePapers<'_>) -> Result<Configs, PapersError> {
    let failed = |what: &'static str| {
        move |reason: &dyn std::fmt::Display| PapersError {
            what,
            reason: reason.to_string(),
        }
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(papers.chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| failed("certificate")(&error))?;
    let key = || {
        PrivateKeyDer::from_pem_slice(papers.key.as_bytes()).map_err(|error| failed("key")(&error))
    };
    let roots = roots(
        CertificateDer::from_pem_slice(papers.root.as_bytes())
            .map_err(|error| failed("authority")(&error))?,
    )
    .map_err(|error| failed("authority")(&error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| failed("authority")(&error))?;
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring supports TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key()?)
        .map_err(|error| failed("certificate")(&error))?;
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring supports TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key()?)
        .map_err(|error| failed("certificate")(&error))?;
    Ok(Configs {
        client: Arc::new(client),
        server: Arc::new(server),
    })
}

fn roots(root: CertificateDer<'_>) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.into_owned())?;
    Ok(Arc::new(roots))
}
