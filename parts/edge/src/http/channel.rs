//! A connection with what was read from it and not used yet.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::io::poll_read_buf;

use crate::transport::ClientStream;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// The same once a read has filled that: a large body is under way.
const READ_BYTES_LARGE: usize = 64 * 1024;
/// Buffers a thread keeps for the next reads: as many connections as are commonly busy at one moment.
const SPARE_BUFFERS: usize = 64;
/// The same of those that have grown, and the largest of them.
const SPARE_GROWN: usize = 16;
const GROWN_BYTES_MAX: usize = 2 * READ_BYTES_LARGE;

/// Copying less costs no more than taking another buffer.
const GIVEN_AWAY_MIN: usize = 16 * 1024;

thread_local! {
    static SPARE: RefCell<Spare> = const {
        RefCell::new(Spare {
            small: Vec::new(),
            grown: Vec::new(),
        })
    };
}

struct Spare {
    small: Vec<Vec<u8>>,
    grown: Vec<Vec<u8>>,
}

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
            give_back(std::mem::take(&mut self.buffer));
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

    /// A connection that waits holds no buffer: one is taken for the attempt to read and given back if none came.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.capacity() == 0 {
            self.buffer = take_spare();
        }
        let free = self.buffer.capacity() - self.buffer.len();
        if free < READ_BYTES / 4 {
            self.buffer.reserve(READ_BYTES_LARGE);
        }
        let free = self.buffer.capacity() - self.buffer.len();
        let read = poll_read_buf(Pin::new(&mut self.half), context, &mut self.buffer);
        match read {
            Poll::Pending => self.rest(),
            Poll::Ready(Ok(count)) if count == free && free < READ_BYTES_LARGE => {
                self.buffer.reserve(READ_BYTES_LARGE);
            }
            Poll::Ready(_) => {}
        }
        read
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
        give_back(buffer);
    }
}

/// A grown one if there is any: where bodies are large, the next one is too.
fn take_spare() -> Vec<u8> {
    SPARE
        .with_borrow_mut(|spare| spare.grown.pop().or_else(|| spare.small.pop()))
        .unwrap_or_else(|| Vec::with_capacity(READ_BYTES))
}

fn give_back(buffer: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        let (kept, most) = if buffer.capacity() <= READ_BYTES {
            (&mut spare.small, SPARE_BUFFERS)
        } else {
            (&mut spare.grown, SPARE_GROWN)
        };
        if kept.len() < most && buffer.capacity() <= GROWN_BYTES_MAX {
            kept.push(buffer);
        }
    });
}
