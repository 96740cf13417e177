use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::judgement::{OwnJudgement, Shown};

/// Whose certificates are taken.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that lead to one of these authorities and are for the name asked for.
    Authorities(RootCertStore),
    /// Any, for probes whose owner asked for it.
    Anyone,
}

impl Trust {
    /// The authorities of a bundle as distributions ship them; what cannot be read among them is passed over.
    pub fn bundle(pem: &[u8]) -> Trust {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
        Trust::Authorities(roots)
    }
}

/// A configuration for clients without a certificate of their own.
pub fn client_config(trust: Trust) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    match trust {
        Trust::Authorities(roots) => config.with_root_certificates(roots),
        Trust::Anyone => config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OwnJudgement::new(
                provider,
                |_: &Shown<'_>| Ok(()),
            ))),
    }
    .with_no_client_auth()
}
