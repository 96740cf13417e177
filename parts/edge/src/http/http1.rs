//! HTTP/1 on both sides: the client's exchange, and a machine's connection.

use std::io;
use std::io::{IoSlice, Write};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;

use super::body::{Body, BodyError, Form, Piece};
use super::channel::Reader;
use super::exchange::{
    AnswerSink, AnswerSource, Exchange, HeadError, Parts, RequestBody, RequestSink,
};
use super::head::{Framing, RequestHead, Version};
use super::memory::Memory;
use super::outbound::{self, Answer};
use super::pulse::Pulse;
use super::response_head::ResponseHead;

/// What is put behind a head for one write; more is written from where it is.
const COPIED_MAX: usize = 2 * 1024;

/// A request on an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Http1Exchange<'a, R, W> {
    head: &'a RequestHead,
    body: Http1Body<'a, R>,
    sink: Http1Sink<'a, W>,
    pulse: &'a Arc<Pulse>,
    memory: &'a mut Option<Box<Memory>>,
}

#[derive(Debug)]
pub(crate) struct Http1Body<'a, R> {
    reader: &'a mut Reader<R>,
    body: Body,
}

#[derive(Debug)]
pub(crate) struct Http1Sink<'a, W> {
    writer: &'a mut W,
    /// A head that waits for its body's first bytes.
    waiting: &'a mut Vec<u8>,
    version: Version,
    keep_alive: bool,
    /// The body is given without framing and gets chunks here.
    chunks: bool,
    tunnel: bool,
}

impl<'a, R, W> Http1Exchange<'a, R, W> {
    /// The request whose head was just read from `reader`. The answer's head is put together in `waiting`.
    pub(crate) fn new(
        head: &'a RequestHead,
        reader: &'a mut Reader<R>,
        writer: &'a mut W,
        pulse: &'a Arc<Pulse>,
        memory: &'a mut Option<Box<Memory>>,
        waiting: &'a mut Vec<u8>,
    ) -> Self {
        waiting.clear();
        Http1Exchange {
            head,
            body: Http1Body {
                reader,
                body: Body::new(head.framing),
            },
            sink: Http1Sink {
                writer,
                waiting,
                version: head.version,
                keep_alive: head.keep_alive,
                chunks: false,
                tunnel: false,
            },
            pulse,
            memory,
        }
    }

    /// Whether another request may follow: the answer said so and the body was read to its end.
    pub(crate) fn can_go_on(&mut self) -> bool {
        self.has_read_all() && self.sink.keep_alive
    }

    /// Whether the body was read to its end.
    pub(crate) fn has_read_all(&mut self) -> bool {
        self.body.body.settle(self.body.reader);
        self.body.body.is_done()
    }

    /// From here on the answer says that it is the connection's last.
    pub(crate) fn make_last(&mut self) {
        self.sink.keep_alive = false;
    }
}

impl<'a, R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> Exchange
    for Http1Exchange<'a, R, W>
{
    type Body = Http1Body<'a, R>;
    type Sink = Http1Sink<'a, W>;

    fn parts(&mut self) -> Parts<'_, Self::Body, Self::Sink> {
        Parts {
            head: self.head,
            body: &mut self.body,
            sink: &mut self.sink,
            pulse: self.pulse,
            shared: None,
        }
    }

    fn memory(&mut self) -> Option<&mut Option<Box<Memory>>> {
        Some(self.memory)
    }
}

impl<R: AsyncRead + Unpin + Send> RequestBody for Http1Body<'_, R> {
    fn buffered(&mut self) -> Result<Piece<'_>, BodyError> {
        self.body.buffered(self.reader, Form::AsIs)
    }

    async fn next(&mut self) -> Result<Piece<'_>, BodyError> {
        self.body.next(self.reader, Form::AsIs).await
    }

    fn is_done(&self) -> bool {
        self.body.is_done()
    }

    fn tunnel(&mut self) {
        self.body.settle(self.reader);
        self.body = Body::new(Framing::UntilClose);
    }
}

impl<W: AsyncWrite + Unpin + Send> AnswerSink for Http1Sink<'_, W> {
    async fn interim(&mut self, answer: &Answer<'_>) -> io::Result<()> {
        if !self.version.is_modern() {
            return Ok(());
        }
        let mut out = Vec::with_capacity(256);
        outbound::response(answer, &mut out);
        out.extend_from_slice(b"\r\n");
        self.writer.write_all(&out).await
    }

    fn begin(&mut self, answer: &Answer<'_>) -> Form {
        let out = &mut *self.waiting;
        out.reserve(1024);
        outbound::response(answer, out);
        if answer.head.status == 101 {
            self.keep_alive = false;
            self.tunnel = true;
            for (kind, name, value) in answer.head.fields() {
                if kind == super::field::Kind::Upgrade {
                    out.extend_from_slice(name);
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(value);
                    out.extend_from_slice(b"\r\n");
                }
            }
            out.extend_from_slice(b"Connection: upgrade\r\n\r\n");
            return Form::AsIs;
        }
        let modern = self.version.is_modern();
        self.chunks = modern && answer.framing == Framing::UntilClose;
        if modern && (self.chunks || answer.framing == Framing::Chunked) {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        // To an old client only the end of the connection can end such a body.
        if !modern && matches!(answer.framing, Framing::Chunked | Framing::UntilClose) {
            self.keep_alive = false;
        }
        let connection: &[u8] = match (self.keep_alive, modern) {
            (false, _) => b"Connection: close\r\n\r\n",
            (true, false) => b"Connection: keep-alive\r\n\r\n",
            (true, true) => b"\r\n",
        };
        out.extend_from_slice(connection);
        if modern && !self.chunks {
            Form::AsIs
        } else {
            Form::Plain
        }
    }

    async fn body(&mut self, data: &[u8]) -> io::Result<()> {
        let mut tail: &[u8] = b"";
        if self.chunks && !data.is_empty() {
            let _ = write!(self.waiting, "{:x}\r\n", data.len());
            tail = b"\r\n";
        }
        if self.waiting.is_empty() {
            self.writer.write_all(data).await?;
        } else if data.len() > COPIED_MAX {
            write_parts(self.writer, [self.waiting, data, tail]).await?;
        } else {
            self.waiting.extend_from_slice(data);
            self.waiting.extend_from_slice(tail);
            self.writer.write_all(self.waiting).await?;
        }
        self.waiting.clear();
        // TLS keeps what it could not send at once.
        self.writer.flush().await
    }

    async fn end(&mut self, trailers: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.chunks) {
            self.waiting.extend_from_slice(b"0\r\n");
            self.waiting.extend_from_slice(trailers);
            self.waiting.extend_from_slice(b"\r\n");
        }
        if !self.waiting.is_empty() {
            self.writer.write_all(self.waiting).await?;
            self.waiting.clear();
        }
        if self.tunnel {
            return self.writer.shutdown().await;
        }
        self.writer.flush().await
    }
}

/// Writes all parts as one, without putting them together.
async fn write_parts<W: AsyncWrite + Unpin>(writer: &mut W, parts: [&[u8]; 3]) -> io::Result<()> {
    let mut slices = parts.map(IoSlice::new);
    let mut left = &mut slices[..];
    // Passes over empty parts in front.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match writer.write_vectored(left).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => IoSlice::advance_slices(&mut left, count),
        }
    }
    Ok(())
}

/// The answers on a machine's connection.
#[derive(Debug)]
pub(crate) struct Http1Answers<'a> {
    reader: &'a mut Reader,
    body: Body,
}

impl<'a> Http1Answers<'a> {
    pub(crate) fn new(reader: &'a mut Reader) -> Self {
        Http1Answers {
            reader,
            body: Body::new(Framing::None),
        }
    }
}

impl RequestSink for OwnedWriteHalf {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
}

impl AnswerSource for Http1Answers<'_> {
    async fn head(&mut self, method: &str, into: &mut ResponseHead) -> Result<(), HeadError> {
        let mut looked_at = 0;
        loop {
            let unread = self.reader.unread();
            // A head that trickles in is not parsed anew for every byte.
            if !unread.is_empty() && (looked_at == 0 || may_end_head(unread, looked_at)) {
                match into.read(unread, method) {
                    Ok(Some(length)) => {
                        self.reader.consume(length);
                        self.body = Body::new(into.framing);
                        return Ok(());
                    }
                    Ok(None) => {}
                    Err(_) => return Err(HeadError::Garbled),
                }
            }
            looked_at = self.reader.unread().len();
            match self.reader.fill().await {
                Ok(0) if looked_at == 0 => return Err(HeadError::Ended),
                Ok(0) => return Err(HeadError::Garbled),
                Ok(_) => {}
                Err(error) => return Err(HeadError::Read(error)),
            }
        }
    }

    fn buffered(&mut self, form: Form) -> Result<Piece<'_>, BodyError> {
        self.body.buffered(self.reader, form)
    }

    async fn next(&mut self, form: Form) -> Result<Piece<'_>, BodyError> {
        self.body.next(self.reader, form).await
    }

    fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    fn tunnel(&mut self) {
        self.body = Body::new(Framing::UntilClose);
    }
}

impl Drop for Http1Answers<'_> {
    fn drop(&mut self) {
        self.body.settle(self.reader);
    }
}

/// Whether the bytes behind the first `seen` can complete a head, or make one too long.
pub(crate) fn may_end_head(bytes: &[u8], seen: usize) -> bool {
    let from = seen.saturating_sub(3);
    bytes.len() >= super::head::HEAD_MAX
        || bytes[from..]
            .windows(2)
            .any(|pair| pair == b"\n\n" || pair == b"\n\r")
}
