//! One module per noun users type.

pub(crate) mod apps;
pub(crate) mod auth;
pub(crate) mod certs;
pub(crate) mod checks;
pub(crate) mod cloud;
pub(crate) mod cloud_status;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod image;
pub(crate) mod info;
pub(crate) mod ips;
pub(crate) mod launch;
pub(crate) mod logs;
pub(crate) mod machine;
pub(crate) mod man;
pub(crate) mod network_policies;
pub(crate) mod orgs;
pub(crate) mod platform;
pub(crate) mod status;
pub(crate) mod trust;
pub(crate) mod version;
pub(crate) mod wireguard;
