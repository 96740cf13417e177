//! Moving bytes between the two sides in constant memory.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use crate::chunked::ChunkScanner;
use crate::head::Framing;
use crate::transport::ClientStream;

/// Bytes read at once; also what one direction of one connection holds at most.
const READ_BYTES: usize = 16 * 1024;

/// A connection with what was read from it and not used yet.
#[derive(Debug)]
pub(crate) struct Channel<S: ClientStream = TcpStream> {
    pub(crate) reader: Reader<S::Read>,
    pub(crate) writer: S::Write,
}

#[derive(Debug)]
pub(crate) struct Reader<R = OwnedReadHalf> {
    half: R,
    buffer: Vec<u8>,
    start: usize,
}

/// Whether chunks are passed on as they came or only what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    AsIs,
    Unchunked,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("read the body")]
    Read(#[source] io::Error),
    #[error("write the body")]
    Write(#[source] io::Error),
    #[error("the chunked coding is broken")]
    Malformed,
    #[error("the connection ended inside the body")]
    Truncated,
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

impl<R: AsyncRead + Unpin> Reader<R> {
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

    /// Reads more behind what is unread; 0 means the other side has ended.
    ///
    /// Cancelling loses nothing.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(READ_BYTES);
        self.half.read_buf(&mut self.buffer).await
    }

    /// Gives the buffer's memory back; an idle connection holds none.
    pub(crate) fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }
}

/// Passes one body on, behind `prefix` (a head), which shares the first write.
pub(crate) async fn relay<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut Reader<R>,
    to: &mut W,
    framing: Framing,
    form: Form,
    prefix: Vec<u8>,
) -> Result<(), RelayError> {
    let mut out = prefix;
    let mut left = match framing {
        Framing::Length(length) => length,
        Framing::None => 0,
        Framing::Chunked | Framing::UntilClose => u64::MAX,
    };
    let mut scanner = ChunkScanner::new();
    loop {
        let unread = from.unread();
        let (used, done) = match framing {
            Framing::None => (0, true),
            Framing::Length(_) => {
                let used = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(unread.len());
                out.extend_from_slice(&unread[..used]);
                left -= used as u64;
                (used, left == 0)
            }
            Framing::UntilClose => {
                out.extend_from_slice(unread);
                (unread.len(), false)
            }
            Framing::Chunked => {
                let scanned = scanner
                    .scan(unread, |data| {
                        if form == Form::Unchunked {
                            out.extend_from_slice(data);
                        }
                    })
                    .map_err(|_| RelayError::Malformed)?;
                if form == Form::AsIs {
                    out.extend_from_slice(&unread[..scanned.used]);
                }
                (scanned.used, scanned.done)
            }
        };
        from.consume(used);
        if !out.is_empty() {
            to.write_all(&out).await.map_err(RelayError::Write)?;
            out.clear();
        }
        if done {
            return Ok(());
        }
        if from.fill().await.map_err(RelayError::Read)? == 0 {
            return if framing == Framing::UntilClose {
                Ok(())
            } else {
                Err(RelayError::Truncated)
            };
        }
    }
}

/// Passes everything on until the reader's side ends, then ends the writer's side: half of a tunnel.
pub(crate) async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut Reader<R>,
    to: &mut W,
) -> Result<(), RelayError> {
    relay(from, to, Framing::UntilClose, Form::AsIs, Vec::new()).await?;
    to.shutdown().await.map_err(RelayError::Write)
}
