use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use mayfly_edge_api::{Challenge, Directory, ServerCertificate};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Every certificate the edge can show, by name; one for all cores.
///
/// A new directory replaces the whole at once: handshakes under way keep what they have chosen.
pub(crate) struct CertificateStore {
    names: RwLock<Arc<Names>>,
    /// For names under the domain that nobody published a certificate for yet, and for `default_self_signed`.
    own: Arc<CertifiedKey>,
    domain: String,
}

#[derive(Default)]
struct Names {
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// `*.<key>`: one label more than the key.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
    proofs: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// By the address of the published value, so that a change of one certificate does not parse all of them again. The
    /// value is held, which keeps its address from being used twice.
    read: HashMap<usize, Read>,
}

type Read = (Arc<ServerCertificate>, Option<Arc<CertifiedKey>>);

#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("make a self-signed certificate")]
    Make(#[from] rcgen::Error),
    #[error("read a certificate")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("use a certificate's key")]
    Key(#[from] rustls::Error),
}

impl CertificateStore {
    /// An empty store with a self-signed certificate for `domain` and the names directly below it.
    pub(crate) fn new(domain: &str) -> Result<CertificateStore, CertificateError> {
        let names = vec![domain.to_owned(), format!("*.{domain}")];
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let own = certified(vec![made.cert.der().clone()], &key.into())?;
        Ok(CertificateStore {
            names: RwLock::default(),
            own: Arc::new(own),
            domain: domain.to_owned(),
        })
    }

    /// Takes over what the directory says; certificates that cannot be read are left out and reported once.
    pub(crate) fn publish(&self, directory: &Directory) {
        let before = self.names();
        let mut names = Names::default();
        for certificate in &directory.certificates {
            if let Some(key) = names.read(certificate, &before, parse) {
                for name in &certificate.hostnames {
                    let (map, name) = match name.strip_prefix("*.") {
                        Some(parent) => (&mut names.wildcard, parent),
                        None => (&mut names.exact, name.as_str()),
                    };
                    map.insert(name.into(), Arc::clone(&key));
                }
            }
        }
        for challenge in &directory.challenges {
            if let Challenge::TlsAlpn01 {
                hostname,
                certificate,
            } = challenge
                && let Some(key) = names.read(certificate, &before, parse_proof)
            {
                names.proofs.insert(hostname.as_str().into(), key);
            }
        }
        *self.names.write().expect("no holder of this lock panics") = Arc::new(names);
    }

    /// The published certificate for `name`; the exact name before the wildcard.
    pub(crate) fn published(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let names = self.names();
        let wildcard = || names.wildcard.get(name.split_once('.')?.1);
        names.exact.get(name).or_else(wildcard).cloned()
    }

    /// The published certificate for `name`, or our own for names directly under the domain.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.published(name).or_else(|| {
            let under = name
                .strip_suffix(self.domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            under.then(|| self.own())
        })
    }

    pub(crate) fn own(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.own)
    }

    /// For a client that names no server.
    pub(crate) fn nameless(&self) -> Arc<CertifiedKey> {
        self.published(&format!("*.{}", self.domain))
            .unwrap_or_else(|| self.own())
    }

    /// What proves that `name` leads here (RFC 8737).
    pub(crate) fn proof(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.names().proofs.get(name).cloned()
    }

    fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names.read().expect("no holder of this lock panics"))
    }
}

impl fmt::Debug for CertificateStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CertificateStore")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl Names {
    fn read(
        &mut self,
        certificate: &Arc<ServerCertificate>,
        before: &Names,
        parse: fn(&ServerCertificate) -> Result<CertifiedKey, CertificateError>,
    ) -> Option<Arc<CertifiedKey>> {
        let address = Arc::as_ptr(certificate).addr();
        let (_, key) = self.read.entry(address).or_insert_with(|| {
            before.read.get(&address).cloned().unwrap_or_else(|| {
                let key = parse(certificate)
                    .inspect_err(|error| {
                        tracing::error!(hostnames = ?certificate.hostnames, error = mayfly_runtime::report(error), "certificate not usable");
                    })
                    .ok();
                (Arc::clone(certificate), key.map(Arc::new))
            })
        });
        key.clone()
    }
}

fn parse(certificate: &ServerCertificate) -> Result<CertifiedKey, CertificateError> {
    let (chain, key) = pem(certificate)?;
    certified(chain, &key)
}

/// A proof has a critical extension that no check of ours knows (RFC 8737, section 3), so its key is taken as given.
fn parse_proof(certificate: &ServerCertificate) -> Result<CertifiedKey, CertificateError> {
    let (chain, key) = pem(certificate)?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, key))
}

type Pem = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn pem(certificate: &ServerCertificate) -> Result<Pem, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.reveal().as_bytes())?;
    Ok((chain, key))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'_>,
) -> Result<CertifiedKey, CertificateError> {
    let key = CertifiedKey::new(chain, rustls::crypto::ring::sign::any_supported_type(key)?);
    match key.keys_match() {
        // The check is skipped for kinds of keys that cannot tell their public part.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(key),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use mayfly_types::Secret;

    use super::*;

    fn text(kind: &str, der: &[u8]) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
    }

    fn certificate(names: &[&str]) -> Arc<ServerCertificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        Arc::new(ServerCertificate {
            hostnames: names,
            chain: text("CERTIFICATE", made.cert.der()),
            key: Secret::new(text("PRIVATE KEY", &made.signing_key.serialize_der())),
        })
    }

    #[test]
    fn a_proof_is_shown_for_its_name_only() {
        let name = "www.a.test";
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let certificate = Arc::new(ServerCertificate {
            hostnames: vec![name.to_owned()],
            chain: text("CERTIFICATE", made.der()),
            key: Secret::new(text("PRIVATE KEY", &key.serialize_der())),
        });
        let store = CertificateStore::new("apps.test").unwrap();
        store.publish(&Directory {
            challenges: vec![Challenge::TlsAlpn01 {
                hostname: name.to_owned(),
                certificate,
            }],
            ..Directory::default()
        });
        assert!(store.proof(name).is_some());
        assert!(store.proof("a.test").is_none());
        assert!(store.published(name).is_none());
    }

    #[test]
    fn the_best_name_wins_and_other_names_get_nothing() {
        let store = CertificateStore::new("apps.test").unwrap();
        let directory = |certificates: &[&Arc<ServerCertificate>]| Directory {
            certificates: certificates.iter().map(|one| Arc::clone(one)).collect(),
            ..Directory::default()
        };
        let (exact, wildcard) = (certificate(&["www.a.test"]), certificate(&["*.a.test"]));
        store.publish(&directory(&[&exact, &wildcard]));
        let shown = |name| store.find(name).map(|key| key.cert[0].clone());
        let first =
            |one: &ServerCertificate| CertificateDer::from_pem_slice(one.chain.as_bytes()).unwrap();
        assert_eq!(shown("www.a.test"), Some(first(&exact)));
        assert_eq!(shown("api.a.test"), Some(first(&wildcard)));
        for name in ["a.test", "x.www.a.test", "b.test", "notapps.test", ""] {
            assert_eq!(shown(name), None, "{name}");
        }
        assert_eq!(shown("web.apps.test"), Some(store.own().cert[0].clone()));

        // What did not change is not read again, what is gone is not shown.
        let kept = store.find("api.a.test").unwrap();
        store.publish(&directory(&[&wildcard]));
        assert!(Arc::ptr_eq(&kept, &store.find("api.a.test").unwrap()));
        assert_eq!(shown("www.a.test"), Some(first(&wildcard)));
    }

    #[test]
    fn a_certificate_that_makes_no_sense_harms_no_other() {
        let store = CertificateStore::new("apps.test").unwrap();
        let (good, other) = (certificate(&["a.test"]), certificate(&["b.test"]));
        let broken = |chain: &str, key: &Secret| {
            Arc::new(ServerCertificate {
                hostnames: vec!["bad.test".to_owned()],
                chain: chain.to_owned(),
                key: key.clone(),
            })
        };
        store.publish(&Directory {
            certificates: vec![
                broken("nothing", &good.key),
                broken(&good.chain, &other.key),
                Arc::clone(&good),
            ],
            ..Directory::default()
        });
        assert!(store.find("a.test").is_some());
        assert!(store.find("bad.test").is_none());
    }
}
