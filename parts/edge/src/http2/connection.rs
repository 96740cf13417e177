//! A client's HTTP/2 connection: its streams are served side by side on the connection's own task.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use h2::Reason;
use h2::server;
use mayfly_runtime::Stop;
use tokio::io::{AsyncRead, AsyncWrite};

use super::crew::{Crew, Job, Seat};
use super::exchange::{H2Exchange, Reset};
use super::gather::{Gathered, Outflow};
use super::head::Inbound;
use super::meter::{FloodGauge, Metered};
use crate::http::connection::{LINGER_BYTES, LINGER_PATIENCE};
use crate::http::core::Core;
use crate::http::exchange::Exchange;
use crate::http::head::{Refused, RequestHead};
use crate::http::pipeline::{Ended, serve_request};
use crate::http::problem::Problem;
use crate::http::pulse::Pulse;
use crate::http::shared::Shared;
use crate::transport::ConnInfo;

/// Requests of one connection served at once; a client that opens more waits.
const STREAMS_MAX: u32 = 128;
/// What a client may send of one body, and of all, before we have passed it on.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What one answer may hold of our memory while its client is slow.
const SEND_BUFFER: usize = 128 * 1024;
/// Requests reset before they were looked at.
const UNSEEN_RESETS_MAX: usize = 64;
/// How long the preface and the first settings may take, and a goodbye.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// A client that gave up more than half of so many requests is not browsing.
const GIVEN_UP_OF: u32 = 500;
/// How long what streams need is kept for the next ones.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);

type Connection<S> = server::Connection<Metered<Gathered<S>>, Bytes>;

/// Serves a client's connection until it leaves, is idle for long, or `stop` lets its open requests finish.
/// `already_read` is what was read to find out the protocol.
pub(crate) async fn serve<S>(
    core: &Core,
    stream: S,
    already_read: Bytes,
    conn: &ConnInfo,
    stop: &Stop,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let pulse = core.ticker.pulse();
    let (gathered, outflow) = Gathered::new(stream);
    let (metered, gauge) = Metered::new(gathered, already_read);
    pulse.set(GREETING_PATIENCE);
    let builder = builder(core.settings.http.header_bytes);
    match pulse.watch(pin!(builder.handshake(metered))).await {
        Ok(Ok(connection)) => {
            let shared = Shared::default();
            let mut streams = Streams {
                core,
                conn,
                shared: &shared,
                pulse,
                fate: Fate::default(),
            };
            outflow.gather(true);
            streams.serve(connection, &gauge, &outflow, stop).await;
        }
        Ok(Err(error)) => tracing::debug!(peer = %conn.peer, error = %error, "no HTTP/2 greeting"),
        Err(_) => tracing::debug!(peer = %conn.peer, "the HTTP/2 greeting did not come in time"),
    }
}

/// `header_bytes` are the most a request's head may have.
fn builder(header_bytes: usize) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .enable_connect_protocol();
    builder
}

/// The streams of one connection.
struct Streams<'a> {
    core: &'a Core,
    conn: &'a ConnInfo,
    shared: &'a Shared,
    /// Ends a connection without streams.
    pulse: Arc<Pulse>,
    fate: Fate,
}

/// What became of a connection's requests.
#[derive(Debug, Default)]
struct Fate {
    all: u32,
    given_up: u32,
}

impl Fate {
    /// Whether the client only makes work (rapid reset). Counts fade, so that an old connection is judged by what it
    /// does now.
    fn is_abuse(&mut self, gave_up: bool) -> bool {
        self.all += 1;
        self.given_up += u32::from(gave_up);
        if self.all < GIVEN_UP_OF {
            return false;
        }
        let abuse = self.given_up * 2 > self.all;
        self.all /= 2;
        self.given_up /= 2;
        abuse
    }
}

/// A request, an error that ends the connection, or nothing once it is closed.
type Accepted = Option<Result<Job, h2::Error>>;

/// The client sends hardly anything but control frames.
struct Flood;

impl<'a> Streams<'a> {
    async fn serve<S>(
        &mut self,
        mut connection: Connection<S>,
        gauge: &FloodGauge,
        outflow: &Outflow<S>,
        stop: &Stop,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (core, conn, shared) = (self.core, self.conn, self.shared);
        let mut crew = Crew::new();
        let mut stopped = pin!(stop.cancelled());
        // Whether it says goodbye, and whether it has given back what streams need.
        let (mut leaving, mut resting) = (false, true);
        let idle_patience = core.settings.http.idle_patience;
        let busy_patience = BUSY_PATIENCE.min(idle_patience);
        self.pulse.set(idle_patience);
        loop {
            // Streams first: what they have ready leaves in one write of the connection.
            tokio::select! {
                biased;
                gave_up = poll_fn(|cx| crew.poll_ended(cx)) => {
                    if crew.is_idle() {
                        self.pulse.set(if leaving { idle_patience } else { busy_patience });
                        resting = false;
                    }
                    if self.fate.is_abuse(gave_up) {
                        tracing::debug!(peer = %self.conn.peer, "most requests were given up at once");
                        drop(crew);
                        outflow.gather(false);
                        return self.calm(connection, outflow).await;
                    }
                }
                turn = poll_fn(|cx| poll_turn(&mut connection, gauge, outflow, cx)) => match turn {
                    Ok(Some(Ok(job))) => {
                        self.pulse.clear();
                        crew.give(job, |seat| serve_streams(core, conn, shared, seat));
                    }
                    Ok(None) => return,
                    Ok(Some(Err(error))) => {
                        tracing::debug!(peer = %self.conn.peer, error = %error, "an HTTP/2 connection broke");
                        return;
                    }
                    Err(Flood) => {
                        tracing::debug!(peer = %self.conn.peer, "flood of HTTP/2 control frames");
                        drop(crew);
                        outflow.gather(false);
                        return self.calm(connection, outflow).await;
                    }
                },
                () = &mut stopped, if !leaving => {
                    leaving = true;
                    connection.graceful_shutdown();
                }
                _ = self.pulse.watch(pending::<()>()) => {
                    if leaving {
                        return;
                    }
                    if !resting {
                        resting = true;
                        crew.rest();
                        outflow.rest();
                        self.pulse.set(idle_patience - busy_patience);
                        continue;
                    }
                    leaving = true;
                    self.pulse.set(GREETING_PATIENCE);
                    connection.graceful_shutdown();
                }
            }
        }
    }

    /// Ends a connection that is a burden.
    async fn calm<S>(&self, mut connection: Connection<S>, outflow: &Outflow<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        self.pulse.set(GREETING_PATIENCE);
        // A client that does not take the reason has to do without.
        let _ = self
            .pulse
            .watch(poll_fn(|cx| connection.poll_closed(cx)))
            .await;
        drop(connection);
        // Closing on what it still sends could cost it the reason.
        self.pulse.set(LINGER_PATIENCE);
        let _ = self.pulse.watch(pin!(outflow.linger(LINGER_BYTES))).await;
    }
}

fn poll_turn<S>(
    connection: &mut Connection<S>,
    gauge: &FloodGauge,
    outflow: &Outflow<S>,
    cx: &mut std::task::Context<'_>,
) -> Poll<Result<Accepted, Flood>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = connection.poll_accept(cx);
    if gauge.is_flood() {
        return Poll::Ready(Err(Flood));
    }
    if accepted.is_ready() {
        return accepted.map(Ok);
    }
    // Nothing more to say in this turn.
    match ready!(outflow.poll_flush(cx)) {
        Ok(()) => Poll::Pending,
        // There is nobody to say it to.
        Err(_) => Poll::Ready(Ok(None)),
    }
}

/// Serves one stream after another.
async fn serve_streams(core: &Core, conn: &ConnInfo, shared: &Shared, seat: Seat) -> Infallible {
    let (pulse, mut inbound) = (core.ticker.pulse(), Inbound::default());
    loop {
        let (request, respond) = seat.next().await;
        let (parts, body) = request.into_parts();
        let ended = body.is_end_stream();
        let refused = inbound.read(&parts, ended, || nonce(core)).err();
        drop(parts);
        let (exchange, reset) = H2Exchange::new(&inbound, body, respond, &pulse, shared);
        let gave_up = serve_stream(core, conn, exchange, reset, refused).await;
        pulse.clear();
        seat.ended(gave_up);
    }
}

/// Serves one request; whether the client gave it up.
async fn serve_stream(
    core: &Core,
    conn: &ConnInfo,
    mut exchange: H2Exchange<'_>,
    reset: Reset,
    refused: Option<Refused>,
) -> bool {
    // In its place: moving it costs more than what it does first.
    let mut serving = pin!(async {
        match refused {
            None => serve_request(core, conn, &mut exchange).await,
            Some(refused) => Box::pin(refuse(core, &mut exchange, refused)).await,
        }
    });
    tokio::select! {
        biased;
        ended = &mut serving => {
            if ended == Ended::Broken {
                reset.send(Reason::INTERNAL_ERROR);
            }
            false
        }
        () = poll_fn(|cx| reset.poll(cx)) => true,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_gives_up_most_requests_is_an_abuser() {
        let judge = |every: u32| {
            let mut fate = Fate::default();
            (1..=GIVEN_UP_OF * 4).any(|request| fate.is_abuse(request % every != 0))
        };
        assert!(judge(1000), "all but a few are given up");
        assert!(judge(3));
        let mut fate = Fate::default();
        assert!(!(0..GIVEN_UP_OF * 8).any(|request| fate.is_abuse(request % 3 == 0)));
        assert!(!(0..GIVEN_UP_OF - 1).any(|_| Fate::default().is_abuse(true)));
    }
}
