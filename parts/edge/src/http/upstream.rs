use std::io;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::channel::Channel;
use super::core::Core;
use crate::fleet::{Admission, ConnectError};
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

/// What a request is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Http1,
    Http2,
    /// HTTP/2 if the machine opens WebSockets with it, else HTTP/1, as every server does.
    WebSocket,
}

/// What a request is sent over.
#[derive(Debug)]
pub(crate) enum Line {
    Http1(Channel),
    Http2(Place),
}

/// Connects to the machine that a request was given to; `fresh` skips kept connections.
///
/// # Errors
/// The machine accepts on none of its addresses. Nothing was sent, so another machine may always be tried.
pub(crate) async fn connect(
    core: &Core,
    mut admission: Admission,
    speech: Speech,
    fresh: bool,
    deadline: impl FnOnce() -> Instant,
) -> Result<Upstream, (Admission, ConnectError)> {
    // What is rare is kept out of the room that every request takes.
    let line = match speech {
        Speech::Http1 => http1_line(core, &mut admission, fresh, deadline).await,
        Speech::Http2 => Box::pin(http2_line(core, &mut admission, fresh, deadline())).await,
        Speech::WebSocket => {
            Box::pin(websocket_line(core, &mut admission, fresh, deadline())).await
        }
    };
    match line {
        Ok((line, address, reused)) => {
            if reused {
                core.counters.reused.add();
            } else {
                core.counters.connects.add();
            }
            // A new connection goes there and back before the request does.
            let round_trips = if reused { 1 } else { 2 };
            let travel = core
                .fleet
                .travel(&core.settings.region, &admission.region, round_trips);
            travel.await;
            Ok(Upstream {
                admission,
                address,
                line,
                reused,
            })
        }
        Err(error) => {
            core.counters.connects_failed.add();
            tracing::debug!(machine_id = %error.machine, error = mayfly_runtime::report(&error), "machine does not accept");
            Err((admission, error))
        }
    }
}

/// A connection, where it leads, and whether it was used before.
async fn http1_line(
    core: &Core,
    admission: &mut Admission,
    fresh: bool,
    deadline: impl FnOnce() -> Instant,
) -> Result<(Line, SocketAddr, bool), ConnectError> {
    match pooled(core, admission, fresh) {
        Some(found) => Ok(found),
        None => Box::pin(opened(core, admission, fresh, deadline())).await,
    }
}

fn pooled(core: &Core, admission: &Admission, fresh: bool) -> Option<(Line, SocketAddr, bool)> {
    let addresses = admission.addresses().into_iter().filter(|_| !fresh);
    addresses
        .filter_map(|address| Some((Line::Http1(core.pool.take(address)?), address, true)))
        .next()
}

async fn opened(
    core: &Core,
    admission: &mut Admission,
    fresh: bool,
    deadline: Instant,
) -> Result<(Line, SocketAddr, bool), ConnectError> {
    let turn = admission.turn(deadline).await?;
    // Another request may have ended meanwhile.
    if turn.has_waited
        && let Some(found) = pooled(core, admission, fresh)
    {
        return Ok(found);
    }
    let (stream, address) = admission.connect(turn, deadline).await?;
    Ok((Line::Http1(Channel::new(stream)), address, false))
}

/// A place on a connection that requests share.
async fn http2_line(
    core: &Core,
    admission: &mut Admission,
    fresh: bool,
    deadline: Instant,
) -> Result<(Line, SocketAddr, bool), ConnectError> {
    let found = place_once_accepted(core, admission, fresh, deadline).await?;
    found.map_err(|source| {
        admission.failed();
        ConnectError {
            machine: admission.machine,
            address: admission.addresses()[0],
            source,
        }
    })
}

/// A place on such a connection if the machine takes WebSockets there, else a connection of its own.
async fn websocket_line(
    core: &Core,
    admission: &mut Admission,
    fresh: bool,
    deadline: Instant,
) -> Result<(Line, SocketAddr, bool), ConnectError> {
    let found = place_once_accepted(core, admission, false, deadline).await?;
    if let Ok((Line::Http2(place), address, reused)) = found
        && place.takes_websockets().await
    {
        return Ok((Line::Http2(place), address, reused));
    }
    http1_line(core, admission, fresh, || deadline).await
}

/// A place, also on a machine that has just started: that is waited for. The inner error is of one that accepts.
async fn place_once_accepted(
    core: &Core,
    admission: &mut Admission,
    fresh: bool,
    deadline: Instant,
) -> Result<io::Result<(Line, SocketAddr, bool)>, ConnectError> {
    if let Ok(found) = place(core, admission, fresh).await {
        return Ok(Ok(found));
    }
    let turn = admission.turn(deadline).await?;
    admission.connect(turn, deadline).await.map(drop)?;
    Ok(place(core, admission, fresh).await)
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
