//! A client's HTTP/2 connection: its streams are served side by side on the connection's own task.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use mayfly_runtime::Stop;
use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::{H2Exchange, Reset};
use super::gather::{Gathered, Outflow};
use super::head::{Inbound, read_request};
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
/// Deadlines kept for the next streams.
const PULSES_KEPT: usize = 16;

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
                pulses: Vec::new(),
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
    pulses: Vec<Arc<Pulse>>,
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
type Accepted = Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>>;

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
        let mut open = FuturesUnordered::new();
        let mut stopped = pin!(stop.cancelled());
        let mut leaving = false;
        let idle_patience = self.core.settings.http.idle_patience;
        self.pulse.set(idle_patience);
        loop {
            let idle = open.is_empty();
            // Streams first: what they have ready leaves in one write of the connection.
            tokio::select! {
                biased;
                Some((gave_up, pulse)) = open.next(), if !open.is_empty() => {
                    if open.is_empty() {
                        self.pulse.set(idle_patience);
                    }
                    if self.pulses.len() < PULSES_KEPT {
                        self.pulses.push(pulse);
                    }
                    if self.fate.is_abuse(gave_up) {
                        tracing::debug!(peer = %self.conn.peer, "most requests were given up at once");
                        drop(open);
                        outflow.gather(false);
                        return self.calm(connection, outflow).await;
                    }
                }
                turn = poll_fn(|cx| poll_turn(&mut connection, gauge, outflow, idle, cx)) => match turn {
                    Ok(Some(Ok((request, respond)))) => {
                        self.pulse.clear();
                        let pulse = self.pulses.pop().unwrap_or_else(|| self.core.ticker.pulse());
                        open.push(Box::pin(self.open(request, respond, pulse)));
                    }
                    Ok(None) => return,
                    Ok(Some(Err(error))) => {
                        tracing::debug!(peer = %self.conn.peer, error = %error, "an HTTP/2 connection broke");
                        return;
                    }
                    Err(Flood) => {
                        tracing::debug!(peer = %self.conn.peer, "flood of HTTP/2 control frames");
                        drop(open);
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
                    leaving = true;
                    self.pulse.set(GREETING_PATIENCE);
                    connection.graceful_shutdown();
                }
            }
        }
    }

    /// Begins to serve a request: whether the client gave it up in the end, and the deadline for another.
    fn open(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        pulse: Arc<Pulse>,
    ) -> impl Future<Output = (bool, Arc<Pulse>)> + use<'a> {
        let (core, conn) = (self.core, self.conn);
        let (parts, body) = request.into_parts();
        let (inbound, refused) = match read_request(&parts, body.is_end_stream(), || nonce(core)) {
            Ok(inbound) => (inbound, None),
            Err(refused) => (Inbound::default(), Some(refused)),
        };
        let (exchange, reset) =
            H2Exchange::new(inbound, body, respond, Arc::clone(&pulse), self.shared);
        serve_stream(core, conn, exchange, reset, refused, pulse)
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
    idle: bool,
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
        Ok(()) if idle => outflow.rest(),
        Ok(()) => {}
        // There is nobody to say it to.
        Err(_) => return Poll::Ready(Ok(None)),
    }
    Poll::Pending
}

/// Serves one request; whether the client gave it up, and the deadline for another.
async fn serve_stream(
    core: &Core,
    conn: &ConnInfo,
    mut exchange: H2Exchange<'_>,
    reset: Reset,
    refused: Option<Refused>,
    pulse: Arc<Pulse>,
) -> (bool, Arc<Pulse>) {
    // In its place: moving it costs more than what it does first.
    let mut serving = pin!(async {
        match refused {
            None => serve_request(core, conn, &mut exchange).await,
            Some(refused) => Box::pin(refuse(core, &mut exchange, refused)).await,
        }
    });
    let gave_up = tokio::select! {
        biased;
        ended = &mut serving => {
            if ended == Ended::Broken {
                reset.send(Reason::INTERNAL_ERROR);
            }
            false
        }
        () = poll_fn(|cx| reset.poll(cx)) => true,
    };
    pulse.clear();
    (gave_up, pulse)
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
