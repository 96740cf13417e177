//! How bytes reach the edge: listeners, the streams clients come on, and what is known of them before the first byte
//! of a request.

pub(crate) mod buffers;
mod client;
mod config;
mod door;
mod doors;
mod gate;
mod listener;
mod postgres;
mod proxy_protocol;
mod raw;
mod socket;
mod splice;
mod tls;
mod treatment;
mod trust;
mod udp;

pub(crate) use client::{ClientStream, ConnInfo, TlsInfo};
pub use config::{EdgeConfig, EdgeDeps, EdgeError};
pub(crate) use door::{Door, Reach};
pub use listener::Edge;
pub(crate) use socket::connect_here;
pub(crate) use splice::relay;
pub use trust::{AddressRange, InvalidRange};
