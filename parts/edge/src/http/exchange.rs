//! The two sides of one request, each behind a trait: the client's, and the machine's.
//!
//! Both speak in HTTP/1's form whatever is on the wire, because the path from HTTP/1 to HTTP/1 must stay on raw bytes:
//! a head is a [`RequestHead`] or [`ResponseHead`], a body is framed as its head says.

use std::future::Future;
use std::io;
use std::sync::Arc;

use super::body::{BodyError, Form, Piece};
use super::head::RequestHead;
use super::memory::Memory;
use super::outbound::Answer;
use super::pulse::Pulse;
use super::response_head::ResponseHead;
use super::shared::Shared;

/// The client's side of one request.
pub(crate) trait Exchange: Send {
    type Body: RequestBody;
    type Sink: AnswerSink;

    fn parts(&mut self) -> Parts<'_, Self::Body, Self::Sink>;

    /// What the client's connection remembers between its requests, where those follow one another.
    fn memory(&mut self) -> Option<&mut Option<Box<Memory>>> {
        None
    }
}

/// What the directions of an exchange need, usable at the same time.
#[derive(Debug)]
pub(crate) struct Parts<'a, B, K> {
    pub(crate) head: &'a RequestHead,
    pub(crate) body: &'a mut B,
    pub(crate) sink: &'a mut K,
    /// Ends the exchange when nothing has moved for too long; nobody else sets it while a request is served.
    pub(crate) pulse: &'a Arc<Pulse>,
    /// What it has in common with others of the connection, where requests do not follow one another.
    pub(crate) shared: Option<&'a Shared>,
}

/// The body of a request, framed as `RequestHead::framing` says: chunked with its chunks and trailers.
pub(crate) trait RequestBody: Send {
    /// What has arrived already, without waiting; an empty piece that is not the last if nothing has.
    fn buffered(&mut self) -> Result<Piece<'_>, BodyError>;

    /// The next piece; waits until there is one. Cancelling loses nothing.
    fn next(&mut self) -> impl Future<Output = Result<Piece<'_>, BodyError>> + Send;

    /// The last piece has been shown.
    fn is_done(&self) -> bool;

    /// From now on: whatever the client sends until it ends its side (after `101 Switching Protocols`).
    fn tunnel(&mut self);
}

/// Takes one answer: any number of interim ones, then `begin`, `body` …, `end`.
pub(crate) trait AnswerSink: Send {
    /// Passes on an answer with status 1xx other than 101, if the client's protocol knows such.
    fn interim(&mut self, answer: &Answer<'_>) -> impl Future<Output = io::Result<()>> + Send;

    /// Begins the final answer, or the tunnel if its status is 101, and says what `body` has to be given. The head may
    /// wait for the first bytes of the body.
    fn begin(&mut self, answer: &Answer<'_>) -> Form;

    /// Passes `data` on; returns once there is room for more. Empty data flushes a waiting head.
    fn body(&mut self, data: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Ends the answer. `trailers` are lines with their ends, empty where `begin` said [`Form::AsIs`]. In a tunnel,
    /// ends this direction.
    fn end(&mut self, trailers: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

/// Where a request goes to on the machine's side.
pub(crate) trait RequestSink: Send {
    /// Sends bytes of a head and its body, as an HTTP/1 connection would carry them. The first call begins with the
    /// whole head.
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Ends this direction of a tunnel.
    fn finish(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// Where the machine's answer comes from.
pub(crate) trait AnswerSource: Send {
    /// Reads the next head, interim or final, of the answer to a request with `method`.
    fn head(
        &mut self,
        method: &str,
        into: &mut ResponseHead,
    ) -> impl Future<Output = Result<(), HeadError>> + Send;

    /// What has arrived already of the body behind the last head, without waiting; an empty piece that is not the last
    /// if nothing has.
    fn buffered(&mut self, form: Form) -> Result<Piece<'_>, BodyError>;

    /// The next piece of that body; waits until there is one.
    fn next(&mut self, form: Form) -> impl Future<Output = Result<Piece<'_>, BodyError>> + Send;

    /// What `next` set aside in [`Form::Plain`]; complete once the last piece was shown.
    fn trailers(&self) -> &[u8];

    /// From now on: whatever the machine sends until it ends its side.
    fn tunnel(&mut self);
}

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("the machine ended the connection before it answered")]
    Ended,
    #[error("read the machine's answer")]
    Read(#[source] io::Error),
    #[error("the machine's answer is not HTTP")]
    Garbled,
}
