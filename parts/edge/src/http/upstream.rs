use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::channel::Channel;
use super::core::Core;
use crate::fleet::{Admission, ConnectError, Refusal, Service};
use crate::http2::Place;

/// A connection to a machine, ready for a request.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Held until the request has ended.
    pub(crate) admission: Admission,
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
#[derive(Debug)]
pub(crate) enum Unreachable {
    /// None may be given the request.
    NoMachine(Refusal),
    /// None of those that may accepts connections on its port; this is what the last one said.
    Refused(ConnectError),
}

/// Connects to the machine that is chosen for the request, or to another if that does not accept. Nothing has been sent
/// yet, so trying another machine is always safe. `fresh` skips pooled connections.
pub(crate) async fn connect(
    core: &Core,
    service: &Arc<Service>,
    fresh: bool,
    deadline: Instant,
) -> Result<Upstream, Unreachable> {
    let h2 = service.spec().ports.iter().any(|port| port.http.h2_backend);
    let mut wish = core.fleet.wish_from(&core.region);
    let mut refused = None;
    loop {
        let mut admission = match core.fleet.admit(service, &wish, deadline).await {
            Ok(admission) => admission,
            Err(refusal) => {
                return Err(refused.map_or(Unreachable::NoMachine(refusal), Unreachable::Refused));
            }
        };
        let line = if h2 {
            http2_line(core, &mut admission, fresh, deadline).await
        } else {
            http1_line(core, &mut admission, fresh, deadline).await
        };
        match line {
            Ok((line, address, reused)) => {
                return Ok(Upstream {
                    admission,
                    address,
                    line,
                    reused,
                });
            }
            Err(error) => {
                tracing::debug!(machine_id = %error.machine, error = mayfly_runtime::report(&error), "machine does not accept");
                wish.exclude.push(error.machine);
                refused = Some(error);
            }
        }
    }
}

/// A connection, where it leads, and whether it was used before.
async fn http1_line(
    core: &Core,
    admission: &mut Admission,
    fresh: bool,
    deadline: Instant,
) -> Result<(Line, SocketAddr, bool), ConnectError> {
    if !fresh && admission.pools() {
        for address in admission.addresses() {
            if let Some(channel) = core.pool.take(address) {
                return Ok((Line::Http1(channel), address, true));
            }
        }
    }
    let (stream, address) = admission.connect(deadline).await?;
    Ok((Line::Http1(Channel::new(stream)), address, false))
}

/// A place on a connection that requests share.
async fn http2_line(
    core: &Core,
    admission: &mut Admission,
    fresh: bool,
    deadline: Instant,
) -> Result<(Line, SocketAddr, bool), ConnectError> {
    if let Ok(found) = place(core, admission, fresh).await {
        return Ok(found);
    }
    // One that has just started is waited for.
    admission.connect(deadline).await.map(drop)?;
    match place(core, admission, fresh).await {
        Ok(found) => Ok(found),
        Err(source) => {
            admission.failed();
            Err(ConnectError {
                machine: admission.machine,
                address: admission.addresses()[0],
                source,
            })
        }
    }
}

async fn place(
    core: &Core,
    admission: &Admission,
    fresh: bool,
) -> io::Result<(Line, SocketAddr, bool)> {
    let mut last = io::ErrorKind::NotConnected.into();
    for address in admission.addresses() {
        match core.links.place(address, fresh).await {
            Ok(place) => {
                let reused = place.is_reused();
                return Ok((Line::Http2(place), address, reused));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
