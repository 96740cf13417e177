//! The private network of one host's machines.
//!
//! Each machine has a network namespace of its own, kept by a mount, and a pair of virtual interfaces into it. There is
//! no bridge: the host routes a /112 of IPv6 and one IPv4 address to each machine, so what may pass is decided in one
//! place, the nftables table of this daemon. A machine reaches the machines of its own network over IPv6 and, translated,
//! the world; nothing else: no other network, no address of the host but what the world reaches too, no neighbour's link.
//! The host itself reaches all. [`Traffic`] narrows that for single machines, and says whom they leave as.
//!
//! [`Mesh`] is started once per data directory and claims an instance tag that names its table and interfaces, so
//! several daemons share a server without touching each other's. All calls may be repeated; what exists is completed.

mod address;
mod door;
mod error;
mod firewall;
mod forwarding;
mod instance;
mod interface;
mod local;
mod mesh;
mod namespace;
mod route;
mod traffic;

pub use address::{API_PORT, Ipv4Pool, private_ip};
pub use door::Family;
pub use error::MeshError;
pub use firewall::{BACKHAUL_PORT, tunnel_name};
pub use interface::{InterfaceShape, interface_routes, shape_interface};
pub use local::LocalAddresses;
pub use mesh::{Attachment, Mesh};
pub use traffic::{Flow, Guard, MachineTraffic, Traffic};
