//! WireGuard in this process: an interface of the kernel (TUN) on one side, datagrams on the other.
//!
//! [`Interface`] is opened with a key and an address to listen at, told its peers as often as they change, and run until
//! it is stopped. Handshakes, timers and cookies are boringtun's; what is here is everything around them: who a datagram
//! belongs to, which peer an address belongs to, where peers are, and moving packets in batches.
//!
//! The crate gives its interface no address and no route: that is `mayfly_mesh::shape_interface`.
//!
//! There is no second way over the kernel's own WireGuard. One way means that the WebSocket transport, roaming and the
//! release of a peer behave the same on every server.

mod allowed;
mod batch;
mod checksum;
mod error;
mod interface;
mod join;
mod key;
mod offload;
mod peer;
mod receive;
mod relay;
mod send;
mod table;
mod tcp;
mod timers;
mod transport;

pub use error::InterfaceError;
pub use interface::{Interface, InterfaceConfig};
pub use key::{InvalidKey, PresharedKey, PrivateKey};
pub use peer::{PeerConfig, PeerStatus};
pub use receive::Receiver;
pub use relay::{RELAY_DEPTH, Relay};
