//! Custom host names: what a user asks for, what DNS says about it, and the certificates that come of it.
//!
//! Rules: <https://fly.io/docs/networking/custom-domain/>. A name belongs to the first app that asks for it. Somebody
//! else who asks later gets it by proving in DNS that it is theirs.

mod findings;
mod issue;
mod keeper;
mod needs;
mod rest;
mod schedule;
mod view;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mayfly_certs::LocalAuthority;
use mayfly_certs::acme::Acme;
use mayfly_certs::dns::Resolver;
use mayfly_seal::Sealer;

pub(crate) use issue::Shown;
pub(crate) use keeper::Keeper;
pub(crate) use rest::{
    add, check, import, list, remove, remove_acme, remove_custom, root_certificate, show,
};

/// What certificates are made with.
#[derive(Clone)]
pub struct CertificateDeps {
    /// Issues for `<app>.<domain>`, and for custom names where there is no `acme`.
    pub authority: Arc<LocalAuthority>,
    /// Seals keys for the store.
    pub sealer: Arc<Sealer>,
    pub resolver: Resolver,
    /// Issues for custom names.
    pub acme: Option<Acme>,
}

/// What is set about certificates.
#[derive(Clone, Debug)]
pub struct CertificateSettings {
    /// How long what the local authority issues is valid.
    pub local_lifetime: Duration,
    /// Addresses at which the world reaches the edge; custom names may point at any of them.
    pub public_addresses: Vec<IpAddr>,
    /// The zone in which this cloud shows proofs for names whose owners point their challenge's name there; none if
    /// it has no such zone.
    pub challenge_zone: Option<String>,
}

/// The name under which a certificate's key is sealed: a row's key cannot be moved to another row.
pub(crate) fn sealing_context(owner: &str, hostname: &str) -> String {
    format!("certificate {owner} {hostname}")
}
