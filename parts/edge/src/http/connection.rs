//! A client's HTTP/1 connection: request after request until one side has had enough.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::Stop;
use tokio::io::{AsyncRead, AsyncWriteExt};

use super::channel::{Channel, Reader};
use super::core::Core;
use super::head::{Refused, RequestHead, TOO_LONG};
use super::http1::{Http1Exchange, may_end_head};
use super::memory::Memory;
use super::pipeline::{Ended, serve_request};
use super::problem::Problem;
use super::pulse::{Expired, Pulse};
use crate::http::exchange::Exchange;
use crate::http2;
use crate::transport::{ClientStream, ConnInfo};

/// How long, and for how many bytes, a client that is being refused may go on sending: closing at once would reset the
/// connection and could take the answer away before it is read (RFC 9112, 9.6).
pub(crate) const LINGER_PATIENCE: Duration = Duration::from_secs(2);
pub(crate) const LINGER_BYTES: usize = 256 * 1024;
/// How long what requests need is kept for the next one.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// How long a new connection may bring its first request after a stop: its client could not know whether a connection
/// that ends without a word may be tried again.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

impl Core {
    /// Serves requests until the client leaves, a request cannot be followed by another, or `stop` finds it idle.
    pub(crate) async fn serve<S: ClientStream>(
        &self,
        client: Channel<S>,
        conn: ConnInfo,
        stop: Stop,
    ) {
        self.counters.connections.add();
        self.serve_all(client, &conn, &stop).await;
        self.counters.connections_ended.add();
    }

    async fn serve_all<S: ClientStream>(
        &self,
        mut client: Channel<S>,
        conn: &ConnInfo,
        stop: &Stop,
    ) {
        if conn.tls.as_ref().is_some_and(|tls| tls.h2) {
            return Box::pin(http2::serve(self, client, conn, stop)).await;
        }
        let pulse = self.ticker.pulse();
        let mut memory: Option<Box<Memory>> = None;
        let mut stopped = pin!(stop.cancelled());
        let (mut first, mut waited) = (true, Duration::ZERO);
        let mut requests = 0_u32;
        loop {
            let (idle, head) = self.patience(memory.as_deref());
            pulse.set(idle.saturating_sub(waited));
            if client.reader.unread().is_empty() {
                client.reader.rest();
                let mut fill = pin!(client.reader.fill());
                let read = tokio::select! {
                    biased;
                    read = pulse.watch(fill.as_mut()) => read,
                    () = async {
                        (&mut stopped).await;
                        if first {
                            tokio::time::sleep(FIRST_REQUEST_GRACE).await;
                        }
                    } => return,
                };
                if !matches!(read, Ok(Ok(1..))) {
                    return;
                }
            }
            pulse.set(head);
            if std::mem::take(&mut first) && greets_in_h2(&mut client.reader, &pulse).await {
                return Box::pin(http2::serve(self, client, conn, stop)).await;
            }
            requests = requests.saturating_add(1);
            // Only a busy connection holds what requests need; with one request it is not known to be.
            let keeps = requests > 1;
            let served =
                Box::pin(self.serve_busy(&mut client, conn, &pulse, &mut memory, keeps, stop));
            match served.await {
                Next::Request if keeps => waited = BUSY_PATIENCE.min(idle),
                Next::Request => {}
                Next::Gone => return,
                Next::Nothing if client.reader.is_quiet().await => {
                    // TLS has a goodbye of its own; a client that does not take it goes without.
                    if conn.tls.is_some() {
                        let _ = pulse.watch(pin!(client.writer.shutdown())).await;
                    }
                    return;
                }
                Next::Nothing | Next::Anything => {
                    return Box::pin(linger(&mut client, &pulse)).await;
                }
            }
        }
    }

    /// Between two requests, and for the head of one.
    fn patience(&self, memory: Option<&Memory>) -> (Duration, Duration) {
        let http = &self.settings.http;
        memory.map_or((http.idle_patience, http.head_patience), |memory| {
            (memory.idle, memory.head)
        })
    }

    /// Serves the request whose first byte has come and, with `keeps`, those that follow soon: what they need is made
    /// once.
    async fn serve_busy<S: ClientStream>(
        &self,
        client: &mut Channel<S>,
        conn: &ConnInfo,
        pulse: &Arc<Pulse>,
        memory: &mut Option<Box<Memory>>,
        keeps: bool,
        stop: &Stop,
    ) -> Next {
        let (mut head, mut out) = (RequestHead::default(), Vec::new());
        let mut stopped = pin!(stop.cancelled());
        loop {
            let working = (&mut head, &mut out);
            let next = self
                .serve_one(client, conn, pulse, memory, working, stop)
                .await;
            if !matches!(next, Next::Request) || !keeps {
                return next;
            }
            let (idle, head_patience) = self.patience(memory.as_deref());
            if client.reader.unread().is_empty() {
                client.reader.rest();
                pulse.set(BUSY_PATIENCE.min(idle));
                let mut fill = pin!(client.reader.fill());
                let read = tokio::select! {
                    biased;
                    read = pulse.watch(fill.as_mut()) => read,
                    () = &mut stopped => return Next::Request,
                };
                match read {
                    Ok(Ok(1..)) => {}
                    Ok(_) => return Next::Gone,
                    Err(Expired) => return Next::Request,
                }
            }
            pulse.set(head_patience);
        }
    }

    /// Serves one request, with memory for its head and the answer's.
    async fn serve_one<S: ClientStream>(
        &self,
        client: &mut Channel<S>,
        conn: &ConnInfo,
        pulse: &Arc<Pulse>,
        memory: &mut Option<Box<Memory>>,
        (head, out): (&mut RequestHead, &mut Vec<u8>),
        stop: &Stop,
    ) -> Next {
        let read = pulse
            .watch(pin!(read_head(
                &mut client.reader,
                head,
                self.settings.http.header_bytes,
            )))
            .await;
        let refused = match read {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => return Next::Anything,
            Ok(Err(refused)) => Some(refused),
            Err(_) => Some(Refused {
                status: 408,
                reason: "the request head did not arrive in time",
            }),
        };
        if let Some(refused) = refused {
            return self.refuse(client, refused, pulse).await;
        }
        memory.get_or_insert_default();
        let (reader, writer) = (&mut client.reader, &mut client.writer);
        let mut exchange = Http1Exchange::new(head, reader, writer, pulse, memory, out);
        if stop.is_cancelled() {
            exchange.make_last();
        }
        let ended = serve_request(self, conn, &mut exchange).await;
        match ended {
            Ended::Answered if !head.keep_alive && exchange.has_read_all() => Next::Nothing,
            // A stop since then ends the connection before its next request, or makes that one the last.
            Ended::Answered if exchange.can_go_on() => Next::Request,
            _ => Next::Anything,
        }
    }

    /// Answers a head that cannot be read; nothing after it can be trusted.
    async fn refuse<S: ClientStream>(
        &self,
        client: &mut Channel<S>,
        refused: Refused,
        pulse: &Arc<Pulse>,
    ) -> Next {
        let request_id = self.request_id();
        let problem = Problem::new(refused.status, "bad_request", refused.reason);
        let nothing = RequestHead::default();
        let (mut memory, mut out) = (None, Vec::new());
        let (reader, writer) = (&mut client.reader, &mut client.writer);
        let mut exchange =
            Http1Exchange::new(&nothing, reader, writer, pulse, &mut memory, &mut out);
        self.counters.own_answers.add();
        self.counters.answered(refused.status);
        let reply = problem.reply(true, &request_id);
        pulse.set(self.settings.http.idle_patience);
        // A client that is gone needs no answer.
        let _ = pulse
            .watch(Box::pin(reply.send(
                &nothing,
                exchange.parts().sink,
                &request_id,
            )))
            .await;
        Next::Anything
    }
}

/// What may come from the client after a request was served.
enum Next {
    /// It did not come soon.
    Request,
    /// It has left.
    Gone,
    /// It said that it sends nothing more.
    Nothing,
    /// Whatever it is, it is not served.
    Anything,
}

/// Whether the client speaks HTTP/2 without having asked (RFC 9113, 3.3).
async fn greets_in_h2<R: AsyncRead + Unpin>(reader: &mut Reader<R>, pulse: &Pulse) -> bool {
    const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n";
    loop {
        let unread = reader.unread();
        let known = unread.len().min(GREETING.len());
        if unread[..known] != GREETING[..known] {
            return false;
        }
        if known == GREETING.len() {
            return true;
        }
        if !matches!(pulse.watch(pin!(reader.fill())).await, Ok(Ok(1..))) {
            return false;
        }
    }
}

/// `false` when the client left within the head; `most` are the bytes it may have.
async fn read_head<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    head: &mut RequestHead,
    most: usize,
) -> Result<bool, Refused> {
    let mut looked_at = 0;
    loop {
        let unread = reader.unread();
        if (looked_at == 0 || may_end_head(unread, looked_at))
            && let Some(length) = head.read(unread)?
        {
            if length > most {
                return Err(TOO_LONG);
            }
            reader.consume(length);
            return Ok(true);
        }
        if unread.len() >= most {
            return Err(TOO_LONG);
        }
        looked_at = unread.len();
        match reader.fill().await {
            Ok(count) if count > 0 => {}
            _ => return Ok(false),
        }
    }
}

/// Ends our side and lets the client finish its own.
async fn linger<S: ClientStream>(client: &mut Channel<S>, pulse: &Pulse) {
    pulse.set(LINGER_PATIENCE);
    let lingering = async {
        if client.writer.shutdown().await.is_ok() {
            client.reader.pass_over(LINGER_BYTES).await;
        }
    };
    let _ = pulse.watch(pin!(lingering)).await;
}
