//! How bytes reach the edge: listeners, the streams clients come on, and what is known of them before the first byte
//! of a request.

mod client;
mod config;
mod door;
mod gate;
mod listener;
mod proxy_protocol;
mod socket;
mod tls;
mod trust;

pub(crate) use client::{ClientStream, ConnInfo, TlsInfo};
pub use config::{EdgeConfig, EdgeDeps, EdgeError};
pub(crate) use door::{Door, Reach};
pub use listener::Edge;
pub use trust::{AddressRange, InvalidRange};
