//! A stream of a client's connection as an exchange.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SERVER, VIA};
use http::{Response, StatusCode};

use super::frames::Frames;
use super::head::{Inbound, field};
use super::links::into_io;
use super::outlet;
use crate::http::body::{BodyError, Form, Piece};
use crate::http::exchange::{AnswerSink, Exchange, Parts, RequestBody};
use crate::http::head::{Framing, RequestHead};
use crate::http::outbound::{Answer, PRODUCT, VIA_1_1};
use crate::http::pulse::Pulse;
use crate::http::shared::Shared;

const REQUEST_ID: HeaderName = HeaderName::from_static("fly-request-id");

/// A request on an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct H2Exchange<'a> {
    head: &'a RequestHead,
    body: H2Body,
    sink: H2Sink,
    pulse: &'a Arc<Pulse>,
    shared: &'a Shared,
}

/// The request's body, or the client's side of a tunnel.
#[derive(Debug)]
pub(super) struct H2Body {
    frames: Frames,
    /// A handshake has no body; what follows it is the tunnel's.
    before_tunnel: bool,
}

/// Takes the answer.
#[derive(Debug)]
pub(super) struct H2Sink {
    /// Shared with [`Reset`]; never locked across a wait.
    outlet: Arc<Mutex<Outlet>>,
    /// A head that waits for its body's first bytes, which may be none.
    waiting: Option<Response<()>>,
    /// Bytes to come of a body whose length the head said.
    left: Option<u64>,
}

#[derive(Debug)]
enum Outlet {
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>),
}

/// Tells when the client gives a request up, and tells the client when we do.
#[derive(Debug)]
pub(super) struct Reset(Arc<Mutex<Outlet>>);

impl Reset {
    /// Ready once the client has reset the stream or is gone.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *lock(&self.0) {
            Outlet::Head(respond) => respond.poll_reset(cx).map(drop),
            Outlet::Body(stream) => stream.poll_reset(cx).map(drop),
        }
    }

    /// The answer breaks off.
    pub(super) fn send(&self, reason: h2::Reason) {
        match &mut *lock(&self.0) {
            Outlet::Head(respond) => respond.send_reset(reason),
            Outlet::Body(stream) => stream.send_reset(reason),
        }
    }
}

fn lock(outlet: &Mutex<Outlet>) -> MutexGuard<'_, Outlet> {
    outlet.lock().expect("no holder of this lock panics")
}

impl<'a> H2Exchange<'a> {
    pub(super) fn new(
        inbound: &'a Inbound,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        pulse: &'a Arc<Pulse>,
        shared: &'a Shared,
    ) -> (H2Exchange<'a>, Reset) {
        let outlet = Arc::new(Mutex::new(Outlet::Head(respond)));
        let reset = Reset(Arc::clone(&outlet));
        let chunked = inbound.head.framing == Framing::Chunked;
        let exchange = H2Exchange {
            head: &inbound.head,
            body: H2Body {
                frames: Frames::new(body, chunked),
                before_tunnel: inbound.tunnel,
            },
            sink: H2Sink {
                outlet,
                waiting: None,
                left: None,
            },
            pulse,
            shared,
        };
        (exchange, reset)
    }
}

impl Exchange for H2Exchange<'_> {
    type Body = H2Body;
    type Sink = H2Sink;

    fn parts(&mut self) -> Parts<'_, H2Body, H2Sink> {
        Parts {
            head: self.head,
            body: &mut self.body,
            sink: &mut self.sink,
            pulse: self.pulse,
            shared: Some(self.shared),
        }
    }
}

impl RequestBody for H2Body {
    fn buffered(&mut self) -> Result<Piece<'_>, BodyError> {
        self.frames.buffered(Form::AsIs)
    }

    async fn next(&mut self) -> Result<Piece<'_>, BodyError> {
        self.frames.next(Form::AsIs).await
    }

    fn is_done(&self) -> bool {
        self.before_tunnel || self.frames.is_done()
    }

    fn tunnel(&mut self) {
        self.before_tunnel = false;
        self.frames.tunnel();
    }
}

impl H2Sink {
    fn send_head(&mut self, ends: bool) -> io::Result<()> {
        let Some(head) = self.waiting.take() else {
            return Ok(());
        };
        let mut outlet = lock(&self.outlet);
        let Outlet::Head(respond) = &mut *outlet else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let stream = respond.send_response(head, ends).map_err(into_io)?;
        *outlet = Outlet::Body(stream);
        Ok(())
    }

    fn poll_room(&self, wanted: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut *lock(&self.outlet) {
            Outlet::Body(stream) => outlet::poll_room(stream, wanted, cx),
            Outlet::Head(_) => Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
        }
    }

    fn with_stream(
        &self,
        act: impl FnOnce(&mut SendStream<Bytes>) -> io::Result<()>,
    ) -> io::Result<()> {
        match &mut *lock(&self.outlet) {
            Outlet::Body(stream) => act(stream),
            Outlet::Head(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl AnswerSink for H2Sink {
    const KEEPS: bool = true;

    async fn interim(&mut self, answer: &Answer<'_>) -> io::Result<()> {
        match &mut *lock(&self.outlet) {
            Outlet::Head(respond) => respond
                .send_informational(response(answer))
                .map_err(into_io),
            Outlet::Body(_) => Ok(()),
        }
    }

    fn begin(&mut self, answer: &Answer<'_>) -> Form {
        self.waiting = Some(response(answer));
        self.left = match answer.framing {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked | Framing::UntilClose => None,
        };
        Form::Plain
    }

    async fn body(&mut self, data: &[u8]) -> io::Result<()> {
        self.body_kept(Bytes::copy_from_slice(data)).await
    }

    async fn body_kept(&mut self, mut data: Bytes) -> io::Result<()> {
        self.send_head(false)?;
        while !data.is_empty() {
            let room = poll_fn(|cx| self.poll_room(data.len(), cx)).await?;
            let now = data.split_to(room);
            let left = self.left.map(|left| left.saturating_sub(now.len() as u64));
            let last = left == Some(0);
            self.with_stream(|stream| stream.send_data(now, last).map_err(into_io))?;
            self.left = left;
        }
        Ok(())
    }

    async fn end(&mut self, trailers: &[u8]) -> io::Result<()> {
        if self.waiting.is_some() && trailers.is_empty() {
            return self.send_head(true);
        }
        self.send_head(false)?;
        if self.left == Some(0) {
            return Ok(());
        }
        self.with_stream(|stream| outlet::end(stream, trailers))
    }
}

/// The head of an answer. A machine's agreement to switch protocols is a success here (RFC 8441, 5).
fn response(answer: &Answer<'_>) -> Response<()> {
    let mut response = Response::new(());
    let switches = answer.head.status == 101;
    // The reader took three digits between 100 and 599.
    *response.status_mut() = if switches {
        StatusCode::OK
    } else {
        StatusCode::from_u16(answer.head.status).unwrap_or(StatusCode::BAD_GATEWAY)
    };
    let headers = response.headers_mut();
    headers.reserve(16);
    answer.each_field(|name, value| match name {
        // The edge's own need no look.
        b"Server" if value == PRODUCT.as_bytes() => {
            headers.append(SERVER, HeaderValue::from_static(PRODUCT));
        }
        b"Via" if value == VIA_1_1.as_bytes() => {
            headers.append(VIA, HeaderValue::from_static(VIA_1_1));
        }
        _ => {
            if let Some((name, mut value)) = field(name, value)
                && !(switches && name == SEC_WEBSOCKET_ACCEPT)
            {
                // New in every answer: indexed, it would push what repeats out of the table.
                value.set_sensitive(name == REQUEST_ID);
                headers.append(name, value);
            }
        }
    });
    response
}
