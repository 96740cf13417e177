use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mayfly_runtime::Entropy;
use mayfly_types::{ErrorKind, Secret, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::pair::{CertificatePair, PairError};
use crate::pem;
use mayfly_seal::write_private;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The root outlives every server it is installed on.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Clocks of visitors may be behind ours.
pub(crate) const BACKDATED: Duration = Duration::from_secs(3600);

/// A certificate authority of this cloud's own. Its root is trusted by whoever installs it, and by nobody else.
pub struct LocalAuthority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
}

/// Why the authority cannot be opened or cannot issue.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("read or write {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Remove both files to get a new authority, which must be trusted anew.
    #[error("{path} is not a certificate authority's: {reason}")]
    Unusable { path: PathBuf, reason: String },
    #[error("make a certificate: {0}")]
    Make(String),
    #[error("check the certificate just made")]
    Check(#[from] PairError),
}

impl AuthorityError {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl LocalAuthority {
    /// Reads the authority in `directory`, or makes one there. Blocks on the disk.
    pub fn open(
        directory: &Path,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<LocalAuthority, AuthorityError> {
        let (root, key) = (directory.join("root.pem"), directory.join("root.key"));
        let file = |path: &Path| {
            let path = path.to_owned();
            |source| AuthorityError::File { path, source }
        };
        fs::create_dir_all(directory).map_err(file(directory))?;
        if !root.exists() {
            let (certificate, pair) = make_root(now, entropy, "Mayfly local authority")?;
            // The key first: a root without its key could never issue.
            let key_pem = pem::encode("PRIVATE KEY", pair.serialized_der());
            write_private(&key, key_pem.as_bytes()).map_err(file(&key))?;
            fs::write(&root, pem::encode("CERTIFICATE", &certificate)).map_err(file(&root))?;
        }
        let root_pem = fs::read_to_string(&root).map_err(file(&root))?;
        let key_pem = fs::read(&key).map_err(file(&key))?;
        let unusable = |path: &Path, reason: String| AuthorityError::Unusable {
            path: path.to_owned(),
            reason,
        };
        let certificate = CertificateDer::from_pem_slice(root_pem.as_bytes())
            .map_err(|error| unusable(&root, error.to_string()))?;
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(&key_pem)
            .map_err(|error| unusable(&key, error.to_string()))?;
        let pair = KeyPair::try_from(&pkcs8).map_err(|error| unusable(&key, error.to_string()))?;
        let public = pair.der_bytes().to_vec();
        let issuer = Issuer::from_ca_cert_der(&certificate, pair)
            .map_err(|error| unusable(&root, error.to_string()))?;
        let belongs = x509_parser::parse_x509_certificate(&certificate)
            .is_ok_and(|(_, root)| root.public_key().subject_public_key.data == public.as_slice());
        if !belongs {
            return Err(unusable(&key, "it is not the root's key".to_owned()));
        }
        Ok(LocalAuthority { issuer, root_pem })
    }

    /// The root to be trusted.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A certificate with a key of its own for `names`, valid for `lifetime` from `now`.
    pub fn issue(
        &self,
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<CertificatePair, AuthorityError> {
        let mut params = leaf(names)?;
        params.not_before = moment(now - BACKDATED.min(lifetime));
        params.not_after = moment(now + lifetime);
        params.serial_number = Some(serial(entropy));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(made)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(made)?;
        // Clients have the root; it is not part of the chain.
        let chain = pem::encode("CERTIFICATE", certificate.der());
        let key = pem::encode("PRIVATE KEY", key.serialized_der());
        Ok(CertificatePair::checked(&chain, &key, now)?)
    }
}

/// The certificate that answers a TLS-ALPN-01 challenge (RFC 8737, section 3), and its key; both PEM.
pub(crate) fn challenge_certificate(
    hostname: &str,
    digest: &[u8],
) -> Result<(String, Secret), AuthorityError> {
    let mut params = leaf(&[hostname.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(made)?;
    let certificate = params.self_signed(&key).map_err(made)?;
    Ok((
        pem::encode("CERTIFICATE", certificate.der()),
        Secret::new(pem::encode("PRIVATE KEY", key.serialized_der())),
    ))
}

/// A fresh key as PKCS #8 in PEM, and the request for a certificate of `names` in DER.
pub(crate) fn request(names: &[String]) -> Result<Secret, AuthorityError> {
    leaf(names)?;
    let key = KeyPair::generate().map_err(made)?;
    Ok(Secret::new(pem::encode(
        "PRIVATE KEY",
        key.serialized_der(),
    )))
}

/// A certificate request for `names`, signed with `key` (PKCS #8, PEM).
pub(crate) fn request_with(names: &[String], key: &Secret) -> Result<Vec<u8>, AuthorityError> {
    let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(made)?;
    let pair = KeyPair::try_from(&pkcs8).map_err(made)?;
    let request = leaf(names)?.serialize_request(&pair).map_err(made)?;
    Ok(request.der().to_vec())
}

pub(crate) fn made(error: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Make(error.to_string())
}

fn leaf(names: &[String]) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(names).map_err(made)?;
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

pub(crate) fn make_root(
    now: Timestamp,
    entropy: &dyn Entropy,
    name: &str,
) -> Result<(Vec<u8>, KeyPair), AuthorityError> {
    let key = KeyPair::generate().map_err(made)?;
    // Two clouds on one machine have different names in a browser's list.
    let mark: [u8; 3] = entropy.bytes();
    let name = format!("{name} {:02x}{:02x}{:02x}", mark[0], mark[1], mark[2]);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Mayfly");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = moment(now - DAY);
    params.not_after = moment(now + ROOT_LIFETIME);
    params.serial_number = Some(serial(entropy));
    let certificate = params.self_signed(&key).map_err(made)?;
    Ok((certificate.der().to_vec(), key))
}

/// 16 random bytes; the first bit is off, since a serial number is positive.
pub(crate) fn serial(entropy: &dyn Entropy) -> SerialNumber {
    let mut bytes: [u8; 16] = entropy.bytes();
    bytes[0] = bytes[0] & 0x7f | 0x01;
    SerialNumber::from_slice(&bytes)
}

pub(crate) fn moment(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_millis().div_euclid(1000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
