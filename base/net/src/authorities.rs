use std::path::Path;

use mayfly_tls::{Trust, client_config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::HttpError;

/// A TLS configuration that trusts the system's authorities and those in `ca_file` (PEM).
///
/// A system without any authority is no error as long as `ca_file` brings one: a host inside a company often has only
/// the latter.
pub(crate) fn client_tls(ca_file: Option<&Path>) -> Result<ClientConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        let failed = |source| HttpError::Authorities {
            origin: path.display().to_string(),
            source,
        };
        for certificate in
            CertificateDer::pem_file_iter(path).map_err(|error| failed(Box::new(error)))?
        {
            let certificate = certificate.map_err(|error| failed(Box::new(error)))?;
            roots
                .add(certificate)
                .map_err(|error| failed(Box::new(error)))?;
        }
    }
    if roots.is_empty() {
        return Err(HttpError::Authorities {
            origin: "the system".to_owned(),
            source: "none found; install the package ca-certificates".into(),
        });
    }
    Ok(client_config(Trust::Authorities(roots)))
}
