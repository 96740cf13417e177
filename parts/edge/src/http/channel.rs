//! A connection with what was read from it and not used yet.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::io::poll_read_buf;

use crate::transport::{ClientStream, buffers};

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

    /// Reads what comes and uses none of it, `most` bytes at most.
    pub(crate) async fn pass_over(&mut self, most: usize) {
        let mut left = most;
        while left > 0 {
            self.consume(self.unread().len());
            match self.fill().await {
                Ok(count) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }

    /// The same for hand-written futures.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
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
