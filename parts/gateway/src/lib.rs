//! Where users' devices enter the private network of their organization.
//!
//! One [`Gateway`] per region: a WireGuard interface that follows the devices of the directory, the routes and firewall
//! elements that belong to them, and a door for devices that carry their tunnel over WebSockets. It asks nobody: while
//! the control plane is away, the devices of the last directory stay connected.

mod door;
mod endpoints;
mod error;
mod framing;
mod gateway;
mod handshake;
mod identity;
mod message;

pub use error::GatewayError;
pub use gateway::{Gateway, GatewayConfig, GatewayDeps};
