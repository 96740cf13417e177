use std::fs;
use std::path::Path;
use std::time::Duration;

use mayfly_runtime::Entropy;
use mayfly_seal::{Sealer, write_private};
use mayfly_types::{Secret, Timestamp};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, ExtendedKeyUsagePurpose,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};

use crate::authority::{AuthorityError, BACKDATED, made, make_root, moment, serial};
use crate::pem;

const SEALED_FOR: &str = "fleet authority";

/// The authority that the servers of a fleet have their identities from; nothing else trusts it. Its key is sealed.
pub struct RoleAuthority {
    issuer: Issuer<'static, KeyPair>,
    root: Vec<u8>,
    root_pem: String,
}

/// A fresh identity that is not signed yet.
pub struct RoleKey {
    /// PKCS #8, PEM.
    pub key: Secret,
    /// PKCS #10, PEM.
    pub request: String,
}

impl RoleAuthority {
    /// Reads the authority in `directory`, or makes one there. Blocks on the disk.
    pub fn open(
        directory: &Path,
        sealer: &Sealer,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<RoleAuthority, AuthorityError> {
        let (root, key) = (
            directory.join("root.pem"),
            directory.join("root.key.sealed"),
        );
        let file = |path: &Path| {
            let path = path.to_owned();
            |source| AuthorityError::File { path, source }
        };
        let unusable = |path: &Path, reason: String| AuthorityError::Unusable {
            path: path.to_owned(),
            reason,
        };
        fs::create_dir_all(directory).map_err(file(directory))?;
        if !root.exists() {
            let (certificate, pair) = make_root(now, entropy, "Mayfly fleet authority")?;
            // The key first: a root without its key could never issue.
            let sealed = sealer.seal(pair.serialized_der(), SEALED_FOR, entropy);
            write_private(&key, &sealed).map_err(file(&key))?;
            let text = pem::encode("CERTIFICATE", &certificate);
            write_private(&root, text.as_bytes()).map_err(file(&root))?;
        }
        let root_pem = fs::read_to_string(&root).map_err(file(&root))?;
        let certificate = CertificateDer::from_pem_slice(root_pem.as_bytes())
            .map_err(|error| unusable(&root, error.to_string()))?;
        let sealed = fs::read(&key).map_err(file(&key))?;
        let opened = sealer
            .open_sealed(&sealed, SEALED_FOR)
            .map_err(|error| unusable(&key, error.to_string()))?;
        let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(opened))
            .map_err(|error| unusable(&key, error.to_string()))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, pair)
            .map_err(|error| unusable(&root, error.to_string()))?;
        Ok(RoleAuthority {
            issuer,
            root: certificate.to_vec(),
            root_pem,
        })
    }

    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// SHA-256 of the root, in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.root)
    }

    /// A certificate for `names` with the key of `request`; of the request nothing else is heeded. The root is the last
    /// of the chain, so that a server that knows only its fingerprint can check both.
    pub fn sign(
        &self,
        request: &str,
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<String, AuthorityError> {
        let mut request = {
            let der =
                CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).map_err(made)?;
            CertificateSigningRequestParams::from_der(&der).map_err(made)?
        };
        let mut params = CertificateParams::new(names).map_err(made)?;
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = moment(now - BACKDATED.min(lifetime));
        params.not_after = moment(now + lifetime);
        params.serial_number = Some(serial(entropy));
        params.use_authority_key_identifier_extension = true;
        request.params = params;
        let certificate = request.signed_by(&self.issuer).map_err(made)?;
        Ok(pem::encode("CERTIFICATE", certificate.der()) + &self.root_pem)
    }
}

impl RoleKey {
    pub fn generate() -> Result<RoleKey, AuthorityError> {
        let pair = KeyPair::generate().map_err(made)?;
        RoleKey::of(Secret::new(pem::encode(
            "PRIVATE KEY",
            pair.serialized_der(),
        )))
    }

    /// An identity with a key that is there already (PKCS #8, PEM).
    pub fn of(key: Secret) -> Result<RoleKey, AuthorityError> {
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(made)?;
        let pair = KeyPair::try_from(&pkcs8).map_err(made)?;
        let request = CertificateParams::default()
            .serialize_request(&pair)
            .map_err(made)?;
        Ok(RoleKey {
            key,
            request: pem::encode("CERTIFICATE REQUEST", request.der()),
        })
    }
}

/// What a role's certificate says: for whom it is, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl RoleFacts {
    /// `None` if `der` is no certificate.
    pub fn of(der: &[u8]) -> Option<RoleFacts> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let names = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            });
        let validity = certificate.validity();
        let millis = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        Some(RoleFacts {
            names: names.collect(),
            not_before: millis(validity.not_before.timestamp()),
            not_after: millis(validity.not_after.timestamp()),
        })
    }

    /// Of the first certificate of a chain in PEM.
    pub fn of_chain(chain: &str) -> Option<RoleFacts> {
        let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
        RoleFacts::of(&leaf)
    }

    /// When two thirds of its life are over.
    pub fn renew_at(&self) -> Timestamp {
        self.not_before + self.not_after.since(self.not_before) * 2 / 3
    }
}

/// SHA-256 of the public key in a certificate request (PEM), in hexadecimal digits; `None` if it is no request.
pub fn request_key_fingerprint(request: &str) -> Option<String> {
    use x509_parser::prelude::FromDer;
    let der = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).ok()?;
    let parsed = x509_parser::certification_request::X509CertificationRequest::from_der(&der);
    let (_, request) = parsed.ok()?;
    Some(fingerprint(
        request.certification_request_info.subject_pki.raw,
    ))
}

/// SHA-256 of a certificate (DER), in hexadecimal digits.
pub fn fingerprint(certificate: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A certificate in PEM.
pub fn certificate_pem(certificate: &[u8]) -> String {
    pem::encode("CERTIFICATE", certificate)
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::{Clock, SystemClock, SystemEntropy};

    use super::*;

    #[test]
    fn signs_what_it_says_and_not_what_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&folder.path().join("sealing.key"), &SystemEntropy).unwrap();
        let now = SystemClock.now();
        let open = || RoleAuthority::open(folder.path(), &sealer, now, &SystemEntropy).unwrap();
        let authority = open();
        assert_eq!(authority.fingerprint(), open().fingerprint());
        let pair = KeyPair::generate().unwrap();
        let greedy = CertificateParams::new(vec!["control.mayfly".to_owned()]).unwrap();
        let request = greedy.serialize_request(&pair).unwrap();
        let request = pem::encode("CERTIFICATE REQUEST", request.der());
        let names = ["0123abcd.server.mayfly".to_owned()];
        let hour = Duration::from_secs(3600);
        let chain = authority
            .sign(&request, &names, hour, now, &SystemEntropy)
            .unwrap();
        let facts = RoleFacts::of_chain(&chain).unwrap();
        assert_eq!(facts.names, names);
        assert!(facts.renew_at() > now && facts.renew_at() < facts.not_after);
        assert!(chain.ends_with(authority.root_pem()));
        // The key at rest is of no use without the sealing key.
        let other = Sealer::open(&folder.path().join("other"), &SystemEntropy).unwrap();
        assert!(RoleAuthority::open(folder.path(), &other, now, &SystemEntropy).is_err());
    }
}
