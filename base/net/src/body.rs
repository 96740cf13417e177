use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, SizeHint};

/// What a request carries: nothing, bytes, or a stream of them.
pub struct Body(UnsyncBoxBody<Bytes, std::io::Error>);

impl Body {
    pub fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(
            Full::new(bytes.into())
                .map_err(|never| match never {})
                .boxed_unsync(),
        )
    }

    /// Sends pieces as they come, chunked unless the request names a `content-length`. An error in the stream breaks
    /// the request off.
    pub fn stream(pieces: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Self {
        Self(StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
