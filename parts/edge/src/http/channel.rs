//! A connection with what was read from it and not used yet.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::io::poll_read_buf;

use crate::transport::{ClientStream, buffers};

/// Copying less costs no more than taking another buffer.
const GIVEN_AWAY_MIN: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Channel<S: ClientStream = TcpStream> {
    pub(crate) reader: Reader<S::Read>,
    pub(crate) writer: S::Write,
}

/// The reading half; holds memory only while bytes are unread.
#[derive(Debug)]
pub(crate) struct Reader<R = OwnedReadHalf> {
    half: R,
    buffer: Vec<u8>,
    start: usize,
}

impl<S: ClientStream> Channel<S> {
    pub(crate) fn new(stream: S) -> Self {
        let (half, writer) = stream.into_halves();
        Channel {
            reader: Reader {
                half,
                buffer: Vec::new(),
                start: 0,
            },
            writer,
        }
    }
}

impl<S: ClientStream> Channel<S> {
    /// Both halves and what was read from them and not used.
    pub(crate) fn into_parts(self) -> (S::Read, S::Write, Bytes) {
        let unread = Bytes::copy_from_slice(self.reader.unread());
        (self.reader.half, self.writer, unread)
    }
}

impl Channel {
    /// Whether the other side has neither closed nor sent anything unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut probe = [0; 1];
        self.reader.unread().is_empty()
            && matches!(self.reader.half.try_read(&mut probe), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl<R> Reader<R> {
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Consumes `count` unread bytes and gives them away: with the whole buffer, if that is worth it.
    pub(crate) fn take(&mut self, count: usize) -> Bytes {
        if count < GIVEN_AWAY_MIN || self.start + count < self.buffer.len() {
            let bytes = Bytes::copy_from_slice(&self.unread()[..count]);
            self.consume(count);
            return bytes;
        }
        let (buffer, start) = (std::mem::take(&mut self.buffer), self.start);
        self.start = 0;
        Bytes::from_owner(Lent(buffer)).slice(start..)
    }

    /// Gives the buffer's memory back if nothing is unread.
    pub(crate) fn rest(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            buffers::give_back(std::mem::take(&mut self.buffer));
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads more behind what is unread; 0 means the other side has ended.
    ///
    /// Cancelling loses nothing.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// Whether the other side has sent nothing that is not used, as far as is known without waiting.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        self.buffer.is_empty()
            && poll_fn(|context| Poll::Ready(self.poll_fill(context).is_pending())).await
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let half = Pin::new(&mut self.half);
        buffers::poll_fill(&mut self.buffer, |buffer| {
            poll_read_buf(half, context, buffer)
        })
    }
}

/// A buffer that is given back by whoever uses its bytes last.
struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        buffers::give_back(buffer);
    }
}
