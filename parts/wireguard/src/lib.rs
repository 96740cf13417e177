//! WireGuard interfaces, run by the kernel or by this process.
//!
//! [`Interface`] is opened with a key and an address to listen at, told its peers as often as they change, and run until
//! it is stopped. Whoever uses one need not know whose WireGuard it is:
//!
//! - the **kernel's**, where it has the module: a link that we make by rtnetlink and tell its peers by generic netlink. It is
//!   faster, and lives through a restart or crash of this process, which then takes it over;
//! - **this process's**, over a TUN interface: handshakes, timers and cookies are boringtun's; what is here is everything
//!   around them: who a datagram belongs to, which peer an address belongs to, where peers are, and moving packets in
//!   batches.
//!
//! Both keep the same promises, and the tests of this crate hold both to them: a peer speaks as its own addresses only, one
//! that moves is answered at its new place, one that is not wanted any more is cut off before the call returns, and
//! datagrams may come by a [relay](Interface::relay) instead of UDP. Of the kernel's, which hears at all addresses, a table of
//! nftables makes one that hears where it was told to.
//!
//! The crate gives its interface no address and no route: that is `mayfly_mesh::shape_interface`. A link of the kernel is
//! taken away by `mayfly_mesh::Mesh`, with everything else that outlives the process.

mod allowed;
mod batch;
mod carrier;
mod checksum;
mod error;
mod interface;
mod join;
mod kernel;
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
mod userspace;

pub use error::InterfaceError;
pub use interface::{Engine, EngineChoice, Interface, InterfaceConfig};
pub use key::{InvalidKey, PresharedKey, PrivateKey};
pub use peer::{PeerConfig, PeerStatus};
pub use relay::{Inward, Outward};
