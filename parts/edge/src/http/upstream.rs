use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::channel::Channel;
use super::pool::Pool;
use crate::route::{Route, Target};

/// A machine is on this host or a tunnel away: longer than this means it is not listening.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// A connection to a machine, ready for a request.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
    /// It served a request before: its end may be under way already.
    pub(crate) reused: bool,
}

/// Why no machine could be reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// None is started.
    NoMachine,
    /// Machines are started, but none accepts connections on its port.
    Refused(Target),
}

/// Connects to the machine whose turn it is, or to the next that answers. Nothing has been sent yet, so trying
/// another machine is always safe. `fresh` skips pooled connections.
pub(crate) async fn connect(
    route: &Route,
    pool: &Pool,
    fresh: bool,
) -> Result<Upstream, Unreachable> {
    let mut refused = None;
    for target in route.in_turn() {
        for address in target.addresses {
            if let Some(channel) = (!fresh).then(|| pool.take(address)).flatten() {
                return Ok(Upstream {
                    target,
                    address,
                    channel,
                    reused: true,
                });
            }
            let connected = timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    return Ok(Upstream {
                        target,
                        address,
                        channel: Channel::new(stream),
                        reused: false,
                    });
                }
                Err(error) => {
                    tracing::debug!(machine_id = %target.machine, %address, error = %error, "machine does not accept");
                    refused = Some(target);
                }
            }
        }
    }
    Err(refused.map_or(Unreachable::NoMachine, Unreachable::Refused))
}
