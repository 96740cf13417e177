//! A stream of a client's connection as an exchange.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use super::chunk;
use super::request::Inbound;
use super::session::{self, lock};
use crate::http::body::{BodyError, Form, Piece};
use crate::http::exchange::{AnswerSink, Exchange, Parts, RequestBody};
use crate::http::head::{Framing, RequestHead};
use crate::http::outbound::Answer;
use crate::http::pulse::Pulse;
use crate::http::shared::Shared;

/// A request on an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct H2Exchange<'a> {
    head: &'a RequestHead,
    body: H2Body<'a>,
    sink: H2Sink<'a>,
    pulse: &'a Arc<Pulse>,
    shared: &'a Shared,
}

/// The place of a stream in its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat<'a> {
    pub(super) session: &'a session::Shared,
    pub(super) place: usize,
}

/// The request's body, or the client's side of a tunnel.
#[derive(Debug)]
pub(super) struct H2Body<'a> {
    seat: Seat<'a>,
    piece: &'a mut Vec<u8>,
    /// HTTP/1 would send the body in chunks.
    chunked: bool,
    done: bool,
    /// A handshake has no body; what follows it is the tunnel's.
    before_tunnel: bool,
}

/// Takes the answer.
#[derive(Debug)]
pub(super) struct H2Sink<'a>(Seat<'a>);

impl<'a> H2Exchange<'a> {
    /// `piece` is memory for pieces of the body.
    pub(super) fn new(
        inbound: &'a Inbound,
        seat: Seat<'a>,
        piece: &'a mut Vec<u8>,
        pulse: &'a Arc<Pulse>,
        shared: &'a Shared,
    ) -> H2Exchange<'a> {
        H2Exchange {
            head: &inbound.head,
            body: H2Body {
                seat,
                piece,
                chunked: inbound.head.framing == Framing::Chunked,
                done: inbound.head.framing == Framing::None,
                before_tunnel: inbound.tunnel,
            },
            sink: H2Sink(seat),
            pulse,
            shared,
        }
    }
}

impl<'a> Exchange for H2Exchange<'a> {
    type Body = H2Body<'a>;
    type Sink = H2Sink<'a>;

    fn parts(&mut self) -> Parts<'_, H2Body<'a>, H2Sink<'a>> {
        Parts {
            head: self.head,
            body: &mut self.body,
            sink: &mut self.sink,
            pulse: self.pulse,
            shared: Some(self.shared),
        }
    }
}

impl H2Body<'_> {
    /// Where in `piece` the next piece begins.
    fn poll_piece(&mut self) -> Poll<Result<usize, BodyError>> {
        let mut session = lock(self.seat.session);
        let place = self.seat.place;
        session.poll_receive(place, self.piece).map(|received| {
            let last = received.map_err(BodyError::Read)?;
            self.done = last;
            let end = last.then_some(&*session.streams[place].trailers);
            Ok(if self.chunked {
                chunk::enclose(self.piece, end)
            } else {
                chunk::ROOM
            })
        })
    }

    fn shown(&self, start: usize) -> Piece<'_> {
        Piece {
            data: &self.piece[start..],
            last: self.done,
        }
    }
}

impl RequestBody for H2Body<'_> {
    fn buffered(&mut self) -> Result<Piece<'_>, BodyError> {
        match self.poll_piece() {
            Poll::Ready(start) => start.map(|start| self.shown(start)),
            Poll::Pending => Ok(Piece {
                data: &[],
                last: false,
            }),
        }
    }

    async fn next(&mut self) -> Result<Piece<'_>, BodyError> {
        // Whoever serves the stream is called when there is more.
        let start = poll_fn(|_| self.poll_piece()).await?;
        Ok(self.shown(start))
    }

    fn is_done(&self) -> bool {
        self.before_tunnel || self.done
    }

    fn tunnel(&mut self) {
        (self.before_tunnel, self.done) = (false, false);
    }
}

impl H2Sink<'_> {
    /// A machine's agreement to switch protocols is a success here (RFC 8441, 5).
    fn send_head(&self, answer: &Answer<'_>) {
        let Seat { session, place } = self.0;
        let switches = answer.head.status == 101;
        let status = if switches { 200 } else { answer.head.status };
        lock(session).send_head(place, status, |put| {
            answer.each_field(|name, value| {
                let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
                let is_http_1 = is(b"upgrade") || (switches && is(b"sec-websocket-accept"));
                if !is_http_1 {
                    put(name, value.trim_ascii());
                }
            });
        });
    }
}

impl AnswerSink for H2Sink<'_> {
    async fn interim(&mut self, answer: &Answer<'_>) -> io::Result<()> {
        self.send_head(answer);
        Ok(())
    }

    fn begin(&mut self, answer: &Answer<'_>) -> Form {
        self.send_head(answer);
        Form::Plain
    }

    async fn body(&mut self, mut data: &[u8]) -> io::Result<()> {
        let Seat { session, place } = self.0;
        poll_fn(|_| lock(session).poll_send(place, &mut data)).await
    }

    async fn end(&mut self, trailers: &[u8]) -> io::Result<()> {
        lock(self.0.session).send_end(self.0.place, trailers)
    }
}
