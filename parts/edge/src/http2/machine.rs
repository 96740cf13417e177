//! One request to a machine over a multiplexed connection.
//!
//! It takes an HTTP/1 request and gives an HTTP/1 answer: everything the edge does between a client and a machine
//! (retries, replays, limits, header rules, trailers) is the same for both kinds of machine. Dropping both halves
//! before the end resets the stream, which tells the machine that nobody waits any more.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, TE, TRAILER,
};
use http::{HeaderMap, Method, Request, StatusCode, Uri, response};
use tokio::sync::oneshot;

use super::frames::Frames;
use super::links::{Place, into_io};
use super::trailers::is_connection_field;
use super::{outlet, websocket};
use crate::http::body::{BodyError, Form, Piece};
use crate::http::chunked::{ChunkScanner, Part};
use crate::http::exchange::{AnswerSource, HeadError, RequestSink};
use crate::http::field::Kind;
use crate::http::head::{Framing, RequestHead};
use crate::http::response_head::ResponseHead;

/// Both halves of a stream on `place`, for one request.
pub(crate) fn stream(place: Place) -> (H2Request, H2Answer) {
    let (hand_over, taken) = oneshot::channel();
    let request = H2Request {
        place,
        state: Sending::Head(Some(hand_over)),
    };
    let answer = H2Answer {
        coming: Coming::Request(taken),
        body: Frames::none(),
    };
    (request, answer)
}

/// The half that takes the request.
#[derive(Debug)]
pub(crate) struct H2Request {
    place: Place,
    state: Sending,
}

#[derive(Debug)]
enum Sending {
    /// Gives the answer to come to the other half.
    Head(Option<oneshot::Sender<Coming>>),
    /// A WebSocket's bytes, from the handshake on.
    Tunnel(SendStream<Bytes>),
    Length(SendStream<Bytes>, u64),
    Chunked(Box<Chunks>),
    Ended,
}

/// A chunked body on its way into DATA frames.
#[derive(Debug)]
struct Chunks {
    stream: SendStream<Bytes>,
    scanner: ChunkScanner,
    plain: Vec<u8>,
    trailers: Vec<u8>,
}

impl H2Request {
    /// Sends the head at the beginning of `bytes`; how long it was.
    async fn send_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let mut head = RequestHead::default();
        let length = head.read(bytes).ok().flatten().ok_or_else(invalid)?;
        let Sending::Head(hand_over) = &mut self.state else {
            return Err(invalid());
        };
        let hand_over = hand_over.take().ok_or_else(invalid)?;
        let sender = self.place.sender();
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(into_io)?;
        let ended = head.framing == Framing::None && !head.upgrade;
        let (answer, stream) = sender
            .send_request(request(&head)?, ended)
            .map_err(into_io)?;
        let accept = head.upgrade.then(|| websocket::accept_of(&head));
        // An answer nobody waits for is reset when it is dropped.
        let _ = hand_over.send(Coming::Head { answer, accept });
        self.state = match head.framing {
            _ if head.upgrade => Sending::Tunnel(stream),
            Framing::Length(length) => Sending::Length(stream, length),
            Framing::Chunked => Sending::Chunked(Box::new(Chunks {
                stream,
                scanner: ChunkScanner::new(),
                plain: Vec::new(),
                trailers: Vec::new(),
            })),
            Framing::None | Framing::UntilClose => Sending::Ended,
        };
        Ok(length)
    }
}

impl RequestSink for H2Request {
    async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if matches!(self.state, Sending::Head(_)) {
            let length = self.send_head(bytes).await?;
            bytes = &bytes[length..];
        }
        if bytes.is_empty() {
            return Ok(());
        }
        match &mut self.state {
            Sending::Length(stream, left) => {
                *left = left
                    .checked_sub(bytes.len() as u64)
                    .ok_or(io::ErrorKind::InvalidInput)?;
                let last = *left == 0;
                outlet::send(stream, bytes, last).await?;
                if last {
                    self.state = Sending::Ended;
                }
                Ok(())
            }
            Sending::Chunked(chunks) => {
                if chunks.send(bytes).await? {
                    self.state = Sending::Ended;
                }
                Ok(())
            }
            Sending::Tunnel(stream) => outlet::send(stream, bytes, false).await,
            Sending::Head(_) | Sending::Ended => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        match &mut self.state {
            Sending::Tunnel(stream) => outlet::end(stream, &[]),
            _ => Ok(()),
        }
    }
}

impl Chunks {
    /// Whether the body has ended.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let (plain, trailers) = (&mut self.plain, &mut self.trailers);
        plain.clear();
        let scanned = self
            .scanner
            .scan(bytes, |part| match part {
                Part::Data(piece) => plain.extend_from_slice(piece),
                Part::Trailers(lines) => trailers.extend_from_slice(lines),
            })
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        outlet::send(&mut self.stream, &self.plain, false).await?;
        if scanned.done {
            outlet::end(&mut self.stream, &self.trailers)?;
        }
        Ok(scanned.done)
    }
}

/// The request over HTTP/2.
fn request(head: &RequestHead) -> io::Result<Request<()>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let mut request = Request::new(());
    if head.upgrade {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(websocket::PROTOCOL);
    } else {
        *request.method_mut() =
            Method::from_bytes(head.method().as_bytes()).map_err(|_| invalid())?;
    }
    *request.uri_mut() = Uri::builder()
        .scheme("http")
        .authority(head.authority())
        .path_and_query(head.target())
        .build()
        .map_err(|_| invalid())?;
    let headers = request.headers_mut();
    for (kind, name, value) in head.fields() {
        if !matches!(kind, Kind::Host | Kind::Te)
            && let Some((name, value)) = field(name, value)
            && !(head.upgrade && name == SEC_WEBSOCKET_KEY)
        {
            headers.append(name, value);
        }
    }
    // We pass trailers on whoever asked; gRPC servers insist on it.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

/// A field of HTTP/1 text, unless HTTP/2 cannot carry it. What the HTTP/1 reader takes, it can.
fn field(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name).ok()?;
    let value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
    (!is_connection_field(name.as_str().as_bytes())).then_some((name, value))
}

/// The half that gives the answer.
#[derive(Debug)]
pub(crate) struct H2Answer {
    coming: Coming,
    body: Frames,
}

#[derive(Debug)]
enum Coming {
    Request(oneshot::Receiver<Coming>),
    Head {
        answer: ResponseFuture,
        /// What agrees to a WebSocket in HTTP/1, if the request asked for one.
        accept: Option<String>,
    },
    Came,
}

impl AnswerSource for H2Answer {
    async fn head(&mut self, method: &str, into: &mut ResponseHead) -> Result<(), HeadError> {
        if let Coming::Request(sent) = &mut self.coming {
            // Nobody hands it over if the request could not be sent.
            self.coming = sent.await.map_err(|_| HeadError::Ended)?;
        }
        let Coming::Head { answer, accept } = &mut self.coming else {
            return Err(HeadError::Ended);
        };
        let head = poll_fn(|cx| {
            if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
                return Poll::Ready(interim.map(|interim| interim.map(|()| None)));
            }
            Pin::new(&mut *answer)
                .poll(cx)
                .map(|whole| whole.map(|whole| whole.map(Some)))
        })
        .await
        .map_err(|error| HeadError::Read(into_io(error)))?;
        let (head, stream) = head.into_parts();
        let ended = stream.as_ref().is_none_or(h2::RecvStream::is_end_stream);
        let (bytes, chunked) = match accept.take_if(|_| head.status.is_success()) {
            Some(accept) => (websocket::agreement(&head.headers, &accept), false),
            None => head_bytes(&head, method, ended),
        };
        if into.read(&bytes, method) != Ok(Some(bytes.len())) {
            return Err(HeadError::Garbled);
        }
        if let Some(stream) = stream {
            self.coming = Coming::Came;
            self.body = Frames::new(stream, chunked);
        }
        Ok(())
    }

    fn buffered(&mut self, form: Form) -> Result<Piece<'_>, BodyError> {
        self.body.buffered(form)
    }

    async fn next(&mut self, form: Form) -> Result<Piece<'_>, BodyError> {
        self.body.next(form).await
    }

    fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    fn tunnel(&mut self) {
        self.body.tunnel();
    }
}

/// The answer's head in HTTP/1, and whether its body is chunked there.
fn head_bytes(head: &response::Parts, method: &str, ended: bool) -> (Vec<u8>, bool) {
    let interim = head.status.is_informational();
    let bodiless = interim
        || method == "HEAD"
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    let has_length = head.headers.contains_key(CONTENT_LENGTH);
    // Only a chunked body has room for trailers.
    let trails = head.headers.contains_key(TRAILER)
        || head
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let chunked = !ended && !bodiless && (trails || !has_length);
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_u16()).into_bytes();
    push_fields(&mut out, &head.headers, !chunked);
    if chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if ended && !bodiless && !has_length {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    (out, chunked)
}

pub(super) fn push_fields(out: &mut Vec<u8>, headers: &HeaderMap, with_length: bool) {
    for (name, value) in headers {
        if is_connection_field(name.as_str().as_bytes()) || (name == CONTENT_LENGTH && !with_length)
        {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes().trim_ascii());
        out.extend_from_slice(b"\r\n");
    }
}
