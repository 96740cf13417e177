use std::fmt;
use std::net::{IpAddr, SocketAddr};

use mayfly_runtime::{Stop, report};
use mayfly_types::PeerKey;
use serde::Deserialize;
use tracing::info;

use crate::error::InterfaceError;
use crate::kernel::{self, Kernel};
use crate::key::PrivateKey;
use crate::peer::{PeerConfig, PeerStatus};
use crate::relay::{Inward, Outward};
use crate::userspace::Userspace;

/// What an interface is from its opening to its end.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// At most 15 characters.
    pub name: String,
    pub private_key: PrivateKey,
    /// Where datagrams are received and sent from. `[::]` takes IPv4 as well; port 0 chooses one.
    pub listen: SocketAddr,
    pub engine: EngineChoice,
}

/// Whose WireGuard an interface shall use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The kernel's where it has one that can be had, this process's otherwise.
    #[default]
    Auto,
    Kernel,
    Userspace,
}

/// Whose WireGuard an interface uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interface outlives this process.
    Kernel,
    /// The interface is gone when its last clone is.
    Userspace,
}

/// A WireGuard interface; cheap to clone.
#[derive(Clone)]
pub struct Interface(Implementation);

#[derive(Clone)]
enum Implementation {
    Kernel(Kernel),
    Userspace(Userspace),
}

impl Interface {
    /// Makes the interface and binds its port, or takes over what an earlier process left in the kernel under this name,
    /// with its sessions. Call it inside a runtime; it blocks for a moment.
    ///
    /// # Errors
    /// `InterfaceError::Tun` without `/dev/net/tun`, without the right to make interfaces, or if the name is taken;
    /// `InterfaceError::Kernel` if the kernel's WireGuard was asked for and cannot be had; `InterfaceError::Listen` if the
    /// address is taken.
    pub fn open(config: InterfaceConfig) -> Result<Interface, InterfaceError> {
        let name = config.name.clone();
        match config.engine {
            EngineChoice::Kernel => return Kernel::open(config).map(Interface::of_kernel),
            EngineChoice::Userspace => {}
            EngineChoice::Auto => match Kernel::open(config.clone()) {
                Ok(kernel) => return Ok(Interface::of_kernel(kernel)),
                Err(problem) => info!(
                    interface = name,
                    reason = report(&problem),
                    "WireGuard runs in this process, not in the kernel"
                ),
            },
        }
        kernel::remove(&name)?;
        Userspace::open(config).map(|userspace| Interface(Implementation::Userspace(userspace)))
    }

    fn of_kernel(kernel: Kernel) -> Interface {
        Interface(Implementation::Kernel(kernel))
    }

    pub fn engine(&self) -> Engine {
        match &self.0 {
            Implementation::Kernel(_) => Engine::Kernel,
            Implementation::Userspace(_) => Engine::Userspace,
        }
    }

    pub fn name(&self) -> &str {
        match &self.0 {
            Implementation::Kernel(kernel) => kernel.name(),
            Implementation::Userspace(userspace) => userspace.name(),
        }
    }

    /// Where it listens, with the port it got.
    pub fn address(&self) -> SocketAddr {
        match &self.0 {
            Implementation::Kernel(kernel) => kernel.address(),
            Implementation::Userspace(userspace) => userspace.address(),
        }
    }

    pub fn public_key(&self) -> PeerKey {
        match &self.0 {
            Implementation::Kernel(kernel) => kernel.public_key(),
            Implementation::Userspace(userspace) => userspace.public_key(),
        }
    }

    /// Makes `wanted` the peers. Who stays with the same keys keeps sessions, counters and the place it was heard from;
    /// who is not named loses access at once.
    ///
    /// # Errors
    /// The kernel refused, for instance because the interface is gone. A part may be done; a later call completes it.
    pub fn set_peers(&self, wanted: &[PeerConfig]) -> Result<(), InterfaceError> {
        match &self.0 {
            Implementation::Kernel(kernel) => kernel.set_peers(wanted),
            Implementation::Userspace(userspace) => {
                userspace.set_peers(wanted);
                Ok(())
            }
        }
    }

    /// Every peer's state, in the order of their keys; none if the kernel does not have the interface any more.
    pub fn status(&self) -> Vec<PeerStatus> {
        match &self.0 {
            Implementation::Kernel(kernel) => kernel.status(),
            Implementation::Userspace(userspace) => userspace.status(),
        }
    }

    /// Opens a way to a peer whose datagrams do not come by UDP, for somebody at `from` who carries them. The way is shut
    /// when both ends are dropped.
    ///
    /// # Errors
    /// `InterfaceError::Relay` if the kernel has no socket for it.
    pub async fn relay(&self, from: IpAddr) -> Result<(Inward, Outward), InterfaceError> {
        match &self.0 {
            Implementation::Kernel(kernel) => kernel.relay(from).await,
            Implementation::Userspace(userspace) => Ok(Inward::to_userspace(userspace, from)),
        }
    }

    /// Asks a peer for new keys now if there are none in use, where it was heard last. Nothing happens if it is unknown or
    /// was never heard.
    pub fn call(&self, peer: &PeerKey) {
        match &self.0 {
            Implementation::Kernel(kernel) => kernel.call(peer),
            Implementation::Userspace(userspace) => userspace.call(peer),
        }
    }

    /// Moves packets until told to stop, or until the interface or the socket fails. The kernel moves them without; then
    /// it is watched that the interface is there. One call per interface.
    pub async fn run(&self, stop: Stop) -> Result<(), InterfaceError> {
        match &self.0 {
            Implementation::Kernel(kernel) => kernel.run(stop).await,
            Implementation::Userspace(userspace) => userspace.run(stop).await,
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineChoice::Auto => "auto",
            EngineChoice::Kernel => "kernel",
            EngineChoice::Userspace => "userspace",
        })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Kernel => "kernel",
            Engine::Userspace => "userspace",
        })
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interface")
            .field("name", &self.name())
            .field("engine", &self.engine())
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
