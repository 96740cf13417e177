use std::fmt;

use mayfly_types::{ErrorKind, Hostname, Secret, Timestamp};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

use crate::pem;

/// More certificates than any chain has.
const CHAIN_MAX: usize = 10;

/// A certificate chain with its key, in which everything fits together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePair {
    /// PEM, leaf first, nothing else.
    pub chain: String,
    /// PEM, PKCS #8.
    pub key: Secret,
    pub facts: CertificateFacts,
}

/// What a leaf says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Names of hosts, lower case; may begin with `*.`.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Name of whoever signed it.
    pub issuer: String,
    /// Hexadecimal digits.
    pub serial: String,
    pub key_type: KeyType,
}

/// How the key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    Ecdsa,
    Rsa,
    Ed25519,
}

/// What is wrong with a chain or a key. The text names the field of the API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    #[error("fullchain holds no certificate: send the PEM text, the server's certificate first")]
    NoCertificate,
    #[error("fullchain: certificate {position} cannot be read: {reason}")]
    Unreadable { position: usize, reason: String },
    #[error("fullchain has more than {CHAIN_MAX} certificates")]
    TooLong,
    #[error(
        "private_key holds no key: send the PEM text of an unencrypted PKCS #8, PKCS #1 or SEC 1 key"
    )]
    NoKey,
    #[error(
        "private_key is of a kind that cannot be used: use RSA (2048 to 8192 bits), ECDSA P-256 or P-384, or Ed25519"
    )]
    KeyKind,
    #[error("private_key does not belong to the first certificate of fullchain")]
    KeyMismatch,
    #[error("fullchain: certificate {position} was not signed by certificate {}", position + 1)]
    BrokenChain { position: usize },
    #[error("fullchain: certificate {position} expired at {at}")]
    Expired { position: usize, at: Timestamp },
    #[error("fullchain: certificate {position} is not valid before {at}")]
    NotYet { position: usize, at: Timestamp },
    #[error("fullchain is for {}, not for {hostname}", list(.names))]
    OtherName {
        hostname: Hostname,
        names: Vec<String>,
    },
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no host name".to_owned(),
        names => names.join(", "),
    }
}

impl PairError {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl CertificatePair {
    /// Checks that the chain holds together, is valid at `now`, and belongs to the key.
    pub fn checked(chain: &str, key: &str, now: Timestamp) -> Result<Self, PairError> {
        let ders = certificates(chain)?;
        let mut parsed = Vec::with_capacity(ders.len());
        for (index, der) in ders.iter().enumerate() {
            let certificate = x509_parser::parse_x509_certificate(der);
            let (_, certificate) = certificate.map_err(|error| PairError::Unreadable {
                position: index + 1,
                reason: error.to_string(),
            })?;
            parsed.push(certificate);
        }
        for (index, certificate) in parsed.iter().enumerate() {
            check_time(certificate, index + 1, now)?;
        }
        for (index, pair) in parsed.windows(2).enumerate() {
            let signed = pair[0].issuer() == pair[1].subject()
                && pair[0].verify_signature(Some(pair[1].public_key())).is_ok();
            if !signed {
                return Err(PairError::BrokenChain {
                    position: index + 1,
                });
            }
        }
        let leaf = &parsed[0];
        let pkcs8 = pkcs8(key, leaf)?;
        let key_type = matching(&pkcs8, leaf)?;
        Ok(Self {
            chain: ders
                .iter()
                .map(|der| pem::encode("CERTIFICATE", der))
                .collect(),
            key: Secret::new(pem::encode("PRIVATE KEY", &pkcs8)),
            facts: CertificateFacts {
                names: names(leaf),
                not_before: timestamp(leaf.validity().not_before),
                not_after: timestamp(leaf.validity().not_after),
                issuer: issuer(leaf),
                serial: hex(leaf.raw_serial()),
                key_type,
            },
        })
    }

    /// # Errors
    /// `OtherName` if a client that wants `hostname` would refuse this certificate.
    pub fn check_covers(&self, hostname: &Hostname) -> Result<(), PairError> {
        let wildcard = hostname.covering_wildcard();
        let covers = |name: &String| {
            name == hostname.as_str()
                || wildcard
                    .as_ref()
                    .is_some_and(|wildcard| name == wildcard.as_str())
        };
        if self.facts.names.iter().any(covers) {
            return Ok(());
        }
        Err(PairError::OtherName {
            hostname: hostname.clone(),
            names: self.facts.names.clone(),
        })
    }
}

impl KeyType {
    pub fn as_str(self) -> &'static str {
        match self {
            KeyType::Ecdsa => "ecdsa",
            KeyType::Rsa => "rsa",
            KeyType::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn certificates(chain: &str) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let mut ders = Vec::new();
    for der in CertificateDer::pem_slice_iter(chain.as_bytes()) {
        let position = ders.len() + 1;
        if position > CHAIN_MAX {
            return Err(PairError::TooLong);
        }
        ders.push(der.map_err(|error| PairError::Unreadable {
            position,
            reason: error.to_string(),
        })?);
    }
    if ders.is_empty() {
        return Err(PairError::NoCertificate);
    }
    Ok(ders)
}

fn check_time(
    certificate: &X509Certificate<'_>,
    position: usize,
    now: Timestamp,
) -> Result<(), PairError> {
    let begins = timestamp(certificate.validity().not_before);
    let ends = timestamp(certificate.validity().not_after);
    if ends <= now {
        return Err(PairError::Expired { position, at: ends });
    }
    if begins > now {
        return Err(PairError::NotYet {
            position,
            at: begins,
        });
    }
    Ok(())
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_millis(time.timestamp().saturating_mul(1000))
}

/// Subject alternative names; the common name of old certificates that have none.
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let alternative = leaf.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = match &alternative {
        Some(extension) => extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect(),
        None => leaf
            .subject()
            .iter_common_name()
            .filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase()))
            .collect(),
    };
    names.dedup();
    names
}

fn issuer(leaf: &X509Certificate<'_>) -> String {
    let name = leaf.issuer();
    let parts = name.iter_common_name().chain(name.iter_organization());
    parts
        .filter_map(|part| part.as_str().ok())
        .next()
        .map_or_else(|| name.to_string(), str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key in the one form everybody reads. The older forms do not name their algorithm fully: the leaf does.
fn pkcs8(key: &str, leaf: &X509Certificate<'_>) -> Result<Vec<u8>, PairError> {
    let inner = match PrivateKeyDer::from_pem_slice(key.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs8(der)) => return Ok(der.secret_pkcs8_der().to_vec()),
        Ok(PrivateKeyDer::Pkcs1(der)) => der.secret_pkcs1_der().to_vec(),
        Ok(PrivateKeyDer::Sec1(der)) => der.secret_sec1_der().to_vec(),
        Ok(_) | Err(_) => return Err(PairError::NoKey),
    };
    let algorithm = algorithm(leaf.public_key().raw).ok_or(PairError::KeyMismatch)?;
    let mut body = vec![0x02, 0x01, 0x00];
    body.extend_from_slice(algorithm);
    body.extend(tagged(0x04, &inner));
    Ok(tagged(0x30, &body))
}

/// The algorithm identifier, whole, out of a public key's outer sequence.
fn algorithm(public_key: &[u8]) -> Option<&[u8]> {
    let (start, _) = content(public_key)?;
    let inside = public_key.get(start..)?;
    let (start, length) = content(inside)?;
    inside.get(..start + length)
}

/// Where the content of the first DER value begins, and how long it is.
fn content(der: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*der.get(1)?);
    if first < 0x80 {
        return Some((2, first));
    }
    let digits = der.get(2..2 + (first & 0x7f))?;
    let length = digits.iter().try_fold(0usize, |length, digit| {
        length.checked_mul(256)?.checked_add(usize::from(*digit))
    })?;
    Some((2 + digits.len(), length))
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    if length < 0x80 {
        der.push(u8::try_from(length).expect("is below 128"));
    } else {
        let bytes = length.to_be_bytes();
        let digits: Vec<u8> = bytes
            .iter()
            .copied()
            .skip_while(|byte| *byte == 0)
            .collect();
        der.push(0x80 | u8::try_from(digits.len()).expect("a length has few digits"));
        der.extend(digits);
    }
    der.extend_from_slice(content);
    der
}

/// The key's kind, given that it is the leaf's.
fn matching(pkcs8: &[u8], leaf: &X509Certificate<'_>) -> Result<KeyType, PairError> {
    let random = ring::rand::SystemRandom::new();
    let ecdsa = [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
    ]
    .into_iter()
    .find_map(|curve| EcdsaKeyPair::from_pkcs8(curve, pkcs8, &random).ok());
    let (public, key_type) = if let Some(key) = ecdsa {
        (key.public_key().as_ref().to_vec(), KeyType::Ecdsa)
    } else if let Ok(key) = RsaKeyPair::from_pkcs8(pkcs8) {
        (key.public().as_ref().to_vec(), KeyType::Rsa)
    } else if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8) {
        (key.public_key().as_ref().to_vec(), KeyType::Ed25519)
    } else {
        return Err(PairError::KeyKind);
    };
    if leaf.public_key().subject_public_key.data == public.as_slice() {
        Ok(key_type)
    } else {
        Err(PairError::KeyMismatch)
    }
}
