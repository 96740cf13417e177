use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::channel::Channel;
use super::core::Core;
use crate::http2::Place;
use crate::route::{Route, Target};

/// A machine is on this host or a tunnel away: longer than this means it is not listening.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// A connection to a machine, ready for a request.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) line: Line,
    /// It served a request before: its end may be under way already.
    pub(crate) reused: bool,
}

/// What a request is sent over.
#[derive(Debug)]
pub(crate) enum Line {
    Http1(Channel),
    Http2(Place),
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
    core: &Core,
    route: &Route,
    fresh: bool,
) -> Result<Upstream, Unreachable> {
    let mut refused = None;
    for target in route.in_turn() {
        for address in target.addresses {
            match line(core, target, address, fresh).await {
                Ok((line, reused)) => {
                    return Ok(Upstream {
                        target,
                        address,
                        line,
                        reused,
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

/// A connection or a place on one, and whether it was used before.
async fn line(
    core: &Core,
    target: Target,
    address: SocketAddr,
    fresh: bool,
) -> io::Result<(Line, bool)> {
    if target.h2 {
        let place = core.links.place(address, fresh).await?;
        let reused = place.is_reused();
        return Ok((Line::Http2(place), reused));
    }
    if let Some(channel) = (!fresh).then(|| core.pool.take(address)).flatten() {
        return Ok((Line::Http1(channel), true));
    }
    let connected = timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    Ok((Line::Http1(Channel::new(stream)), false))
}
