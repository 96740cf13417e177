//! Intent: what users asked for, and the one event log of everything that changed.
//!
//! [`ControlStore`] holds users, organizations, networks, tokens, apps, hosts and machines in SQLite or PostgreSQL.
//! Every call that changes something takes a [`By`] (when, who, on whose request) and appends one row to the log in
//! the same transaction. What hosts report arrives through [`ControlStore::apply_host_events`] and is kept beside the
//! intent, so that a list is one query.
//!
//! It decides nothing about machines, asks no clock and no random generator, and knows no JSON of the API beyond the
//! configuration, which it keeps as the user wrote it. Who may see what is decided by its callers.

mod acme;
mod address;
mod app;
mod app_expiry;
mod app_move;
mod app_secret;
mod audit;
mod autoscale;
mod bootstrap;
mod budget;
mod by;
mod certificate;
mod config;
mod directory;
mod error;
mod event;
mod fleet;
mod host;
mod host_drain;
mod hostname;
mod idempotency;
mod invitation;
mod machine;
mod machine_event;
mod network;
mod network_policy;
mod oidc_key;
mod organization;
mod reality;
mod release;
mod release_count;
mod replay_source;
mod retention;
mod schema;
mod ssh_authority;
mod store;
mod token;
mod user;
mod volume;
mod wireguard_peer;
mod wireguard_token;

pub use acme::PendingOrder;
pub use address::{Address, AddressKind, AddressNetwork, AddressSource, NewAddress, NewEgress};
pub use app::{App, AppFilter, AppStatus, BUILDER, NewApp};
pub use app_secret::{AppSecret, MachineSecrets, SealedSecret, SecretChange, SecretSet};
pub use audit::AuditFilter;
pub use autoscale::{AutoscaleAction, AutoscaleChange, AutoscaleRule, NewAutoscaleRule};
pub use bootstrap::FirstStart;
pub use budget::{Budget, Used};
pub use by::By;
pub use certificate::{CertificateSource, NewCertificate, StoredCertificate};
pub use error::StoreError;
pub use event::{Event, EventFilter, OfApp};
pub use fleet::{FleetServer, NewServer, ServerPlace};
pub use host::{Host, HostSize, Reach};
pub use host_drain::{HostDrain, HostMove, MoveStage};
pub use hostname::{CustomHostname, Holder, HostnameFilter, Progress};
pub use idempotency::IdempotencyKey;
pub use invitation::{Accepted, Accepting, Invitation, NewInvitation, NewPerson};
pub use machine::{
    Created, Lease, Machine, MachineFilter, MachineVersion, MetadataChange, NewLease, NewMachine,
    NewVersion,
};
pub use machine_event::MachineEvent;
pub use network::Network;
pub use network_policy::StoredPolicy;
pub use oidc_key::OidcKey;
pub use organization::{Member, Membership, NewOrg, Org, OrgKind, Role};
pub use reality::Applied;
pub use release::{NewRelease, Release, ReleaseStatus};
pub use release_count::MachineCount;
pub use retention::{Expired, Keep};
pub use ssh_authority::{IssuedCertificate, StoredSshAuthority};
pub use store::ControlStore;
pub use token::{Caller, NewToken, Token, TokenKind, TokenOf};
pub use user::User;
pub use volume::{NewVolume, Volume, VolumeFilter, VolumeState, VolumeUpdate};
pub use wireguard_peer::{Delegation, NewWireguardPeer, WireguardPeer};
pub use wireguard_token::WireguardToken;
