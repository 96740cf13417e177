use std::io;

use mayfly_types::MachineId;

/// Why the network of this host or of one machine could not be brought into the wanted state.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    #[error("claim a network instance for {directory}")]
    Claim {
        directory: String,
        #[source]
        source: io::Error,
    },
    #[error("load the firewall of this host's machines with nft: {0}")]
    Firewall(String),
    #[error("set {name}")]
    Sysctl {
        name: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{action} of machine {machine}")]
    Machine {
        action: &'static str,
        machine: MachineId,
        #[source]
        source: io::Error,
    },
    #[error("shape the interface {name}")]
    Interface {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("admit users' devices")]
    Peers(#[source] io::Error),
    #[error("list interfaces")]
    List(#[source] io::Error),
    #[error("enforce policies and sources of machines")]
    Traffic(#[source] io::Error),
    #[error("answer for addresses of apps")]
    Local(#[source] io::Error),
}
