//! Certificates: a local authority, one for the servers of the fleet, an ACME client in steps that can be journaled,
//! checks of what people import, keys that sign web tokens, and a small resolver that sees DNS as a certificate
//! authority does.
//!
//! Every step takes and returns plain values. It keeps no list of hostnames, stores nothing but the local authority's
//! own two files, and decides nothing about who may have which name.

pub mod acme;
mod authority;
pub mod dns;
mod pair;
mod pem;
mod role;
mod signing_key;

pub use authority::{AuthorityError, LocalAuthority};
pub use pair::{CertificateFacts, CertificatePair, KeyType, PairError};
pub use role::{
    RoleAuthority, RoleFacts, RoleKey, certificate_pem, fingerprint, request_key_fingerprint,
};
pub use signing_key::{SigningError, SigningKey};
