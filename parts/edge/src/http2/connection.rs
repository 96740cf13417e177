//! A client's HTTP/2 connection: its streams are served side by side on the connection's own task.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mayfly_runtime::Stop;
use tokio::io::AsyncWriteExt;

use super::crew::Crew;
use super::driver::{Driver, Turn};
use super::exchange::{H2Exchange, Seat};
use super::frame::Reason;
use super::session::{Session, lock};
use crate::http::Channel;
use crate::http::connection::{LINGER_BYTES, LINGER_PATIENCE};
use crate::http::core::Core;
use crate::http::exchange::Exchange;
use crate::http::head::{Refused, RequestHead};
use crate::http::pipeline::{Ended, serve_request};
use crate::http::problem::Problem;
use crate::http::shared::Shared;
use crate::transport::{ClientStream, ConnInfo};

/// How long the preface and the first settings may take, and a goodbye.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// How long what streams need is kept for the next ones.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// Memory for pieces of bodies that is kept for the next request.
const PIECE_KEPT_MAX: usize = 16 * 1024;

/// Serves a client's connection until it leaves, is idle for long, or `stop` lets its open requests finish.
pub(crate) async fn serve<S: ClientStream>(
    core: &Core,
    client: Channel<S>,
    conn: &ConnInfo,
    stop: &Stop,
) {
    let shared = Shared::default();
    let pulse = core.ticker.pulse();
    let calls = Arc::default();
    let session = Session::new(core.settings.http.header_bytes, Arc::clone(&calls));
    let session = Arc::new(Mutex::new(session));
    let mut crew = Crew::new(calls);
    let hire = |place| {
        let session = &session;
        serve_streams(core, conn, &shared, Seat { session, place })
    };
    let key = || nonce(core);
    let mut driver = Driver::new(client, &session);
    let idle_patience = core.settings.http.idle_patience;
    let busy_patience = BUSY_PATIENCE.min(idle_patience);
    let mut stopped = pin!(stop.cancelled());
    // Whether it says goodbye, and whether it has given back what streams need.
    let (mut leaving, mut resting) = (false, true);
    pulse.set(GREETING_PATIENCE);
    let reason = loop {
        tokio::select! {
            biased;
            turn = poll_fn(|cx| driver.poll_turn(cx, &mut crew, &hire, &key)) => match turn {
                Turn::Busy => pulse.clear(),
                Turn::Idle => {
                    pulse.set(if leaving { GREETING_PATIENCE } else { busy_patience });
                    resting = false;
                }
                Turn::Left => return,
                Turn::Ended => break None,
                Turn::Wrong(reason) => {
                    tracing::debug!(peer = %conn.peer, ?reason, "an HTTP/2 connection is ended");
                    break Some(reason);
                }
            },
            () = &mut stopped, if !leaving => {
                leaving = true;
                let mut session = lock(&session);
                session.say_goodbye();
                if session.is_idle() {
                    pulse.set(GREETING_PATIENCE);
                }
            }
            _ = pulse.watch(pending::<()>()) => {
                if leaving || !lock(&session).settled {
                    return;
                }
                if resting {
                    leaving = true;
                    pulse.set(GREETING_PATIENCE);
                    lock(&session).say_goodbye();
                } else {
                    resting = true;
                    crew.dismiss();
                    driver.rest();
                    pulse.set(idle_patience - busy_patience);
                }
            }
        }
    };
    // Requests under way end here.
    drop(crew);
    pulse.set(GREETING_PATIENCE);
    if let Some(reason) = reason {
        let mut session = lock(&session);
        let last = session.last_id;
        session.outbox.goodbye(last, reason);
    }
    // A client that does not take it has to do without.
    let _ = pulse.watch(poll_fn(|cx| driver.poll_drain(cx))).await;
    let (mut reader, mut writer) = driver.into_halves();
    pulse.set(LINGER_PATIENCE);
    // Closing on what it still sends could cost it what was said last.
    let lingering = async {
        if writer.shutdown().await.is_ok() {
            reader.pass_over(LINGER_BYTES).await;
        }
    };
    let _ = pulse.watch(pin!(lingering)).await;
}

/// Serves one stream after another.
async fn serve_streams(
    core: &Core,
    conn: &ConnInfo,
    shared: &Shared,
    seat: Seat<'_>,
) -> Infallible {
    let (pulse, mut piece) = (core.ticker.pulse(), Vec::new());
    let Seat { session, place } = seat;
    loop {
        // It is called when there is one.
        let next = poll_fn(|_| {
            lock(session)
                .take_job(place)
                .map_or(Poll::Pending, Poll::Ready)
        });
        let (inbound, refused) = next.await;
        let exchange = H2Exchange::new(&inbound, seat, &mut piece, &pulse, shared);
        let reason = serve_stream(core, conn, exchange, seat, refused).await;
        pulse.clear();
        piece.clear();
        piece.shrink_to(PIECE_KEPT_MAX);
        lock(session).leave(place, inbound, reason);
    }
}

/// Serves one request; the reason to reset its stream for, if its answer is not whole.
async fn serve_stream(
    core: &Core,
    conn: &ConnInfo,
    mut exchange: H2Exchange<'_>,
    seat: Seat<'_>,
    refused: Option<Refused>,
) -> Reason {
    // In its place: moving it costs more than what it does first.
    let mut serving = pin!(async {
        match refused {
            None => serve_request(core, conn, &mut exchange).await,
            Some(refused) => Box::pin(refuse(core, &mut exchange, refused)).await,
        }
    });
    let mut given_up = poll_fn(|_| {
        let is_reset = lock(seat.session).streams[seat.place].reset;
        if is_reset {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    tokio::select! {
        biased;
        () = &mut given_up => {}
        _ = &mut serving => {}
    }
    Reason::INTERNAL_ERROR
}

/// Answers a head that has no reading, or more than one.
async fn refuse(core: &Core, exchange: &mut H2Exchange<'_>, refused: Refused) -> Ended {
    let request_id = core.request_id();
    let problem = Problem::new(refused.status, "bad_request", refused.reason);
    let reply = problem.reply(true, &request_id);
    let parts = exchange.parts();
    parts.pulse.set(core.settings.http.idle_patience);
    let nothing = RequestHead::default();
    let sent = reply.send(&nothing, parts.sink, &request_id);
    match parts.pulse.watch(pin!(sent)).await {
        Ok(Ok(())) => Ended::Answered,
        _ => Ended::Broken,
    }
}

/// What a WebSocket handshake over HTTP/1 proves its freshness with.
fn nonce(core: &Core) -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&core.chance().to_le_bytes());
    bytes[8..].copy_from_slice(&core.chance().to_le_bytes());
    BASE64_STANDARD.encode(bytes)
}
