//! The control plane's API: the Machines REST API, the parts of the upstream client's other REST interfaces that this
//! cloud has, and Mayfly's own endpoints.
//!
//! A handler checks token, lease and rules, records intent and event in one transaction, and then asks the host. The
//! answer comes when the host has journaled the wish; what a crash leaves in between is finished or undone by
//! [`Control::spawn_loops`]. Machines are shown as their hosts reported them, read from the store, never from memory.
//!
//! It does not know how a machine runs, how its traffic is routed, or where its logs are kept.

mod access;
mod addresses;
mod app_expiry;
mod apps;
mod autoscale;
mod bootstrap;
mod budgets;
mod builds;
mod certificates;
mod changes;
mod cloud;
mod control;
mod directory;
mod error;
mod event_log;
mod fleet;
mod given_name;
mod hosts;
mod http;
mod images;
mod inside;
mod invitations;
mod late_router;
mod limits;
mod logs;
mod machines;
mod members;
mod network_policies;
mod oidc;
mod orgs;
mod placement;
mod platform;
mod private;
mod pump;
mod region;
mod registry;
mod releases;
mod replay_sources;
mod retention;
mod router;
mod secrets;
mod settings;
mod settle;
mod ssh;
mod standby;
mod status;
mod token_hash;
mod token_sources;
mod tokens;
mod turn;
mod volumes;
mod wireguard;

pub use bootstrap::{FirstToken, first_start, first_start_with, fresh_token};
pub use certificates::{CertificateDeps, CertificateSettings};
pub use control::{BuildError, Control, ControlConfig, ControlDeps};
pub use directory::DirectoryFeed;
pub use fleet::{FleetDeps, HostDialer};
pub use inside::AtDoorOf;
pub use late_router::LateRouter;
pub use limits::{ApiLimits, UnknownProfile};
pub use private::PrivateNames;
pub use retention::Retention;
pub use settings::{AddressPools, AutoscalePace, BuilderSettings, EdgeAddress, Settings};
