use std::io;
use std::time::Duration;

use bytes::Bytes;
use mayfly_fleet_api::CallError;
use mayfly_net::MutualStream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

/// A message in JSON.
pub(crate) const MESSAGE: u8 = 0;
/// Bytes of a stream; of a session, what goes in or comes out.
pub(crate) const DATA: u8 = 1;
/// Bytes of a session's second stream.
pub(crate) const DATA_ERR: u8 = 2;
/// A stream has ended; with what came of it, if there is something to say.
pub(crate) const END: u8 = 3;

/// Bytes of one frame: far more than any message has, far less than would hurt.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// Bytes of one piece of a stream.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// How often a stream with nothing new says so, and after which silence the other side gives it up.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(3);
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);

pub(crate) type Answer<T> = Result<T, CallError>;

/// What arrived: a kind and its bytes.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) bytes: Bytes,
}

impl Frame {
    pub(crate) fn message<T: DeserializeOwned>(&self) -> io::Result<T> {
        if self.kind != MESSAGE && self.kind != END {
            return Err(invalid(format!("a frame of kind {}", self.kind)));
        }
        serde_json::from_slice(&self.bytes).map_err(invalid)
    }
}

/// The reading half of a connection.
pub(crate) struct LineReader(BufReader<ReadHalf<MutualStream>>);

/// The writing half of a connection.
pub(crate) struct LineWriter(WriteHalf<MutualStream>);

/// A connection that frames go over, in both directions.
pub(crate) struct Line {
    pub(crate) reader: LineReader,
    pub(crate) writer: LineWriter,
}

impl Line {
    pub(crate) fn new(stream: MutualStream) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader: LineReader(BufReader::with_capacity(PIECE_BYTES, reader)),
            writer: LineWriter(writer),
        }
    }

    pub(crate) async fn ask<T: DeserializeOwned>(
        &mut self,
        call: &impl Serialize,
    ) -> io::Result<Answer<T>> {
        self.writer.message(call).await?;
        self.reader.expect().await?.message()
    }
}

impl LineReader {
    /// The next frame; `None` when the other side closed in order. Not to be cancelled half-way.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        let kind = match self.0.read_u8().await {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(self.0.read_u32().await?).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(invalid(format!("a frame of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await?;
        Ok(Some(Frame {
            kind,
            bytes: bytes.into(),
        }))
    }

    /// The next frame of an exchange that is not over.
    pub(crate) async fn expect(&mut self) -> io::Result<Frame> {
        self.next().await?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")
        })
    }

    /// The next frame of a stream whose other side speaks at least every [`ALIVE_EVERY`].
    pub(crate) async fn expect_soon(&mut self) -> io::Result<Frame> {
        tokio::time::timeout(SILENCE_MAX, self.expect())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the other side fell silent"))?
    }
}

impl LineWriter {
    pub(crate) async fn frame(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len())
            .ok()
            .filter(|_| bytes.len() <= FRAME_BYTES_MAX)
            .ok_or_else(|| invalid(format!("a frame of {} bytes", bytes.len())))?;
        let mut whole = Vec::with_capacity(5 + bytes.len());
        whole.push(kind);
        whole.extend_from_slice(&length.to_be_bytes());
        whole.extend_from_slice(bytes);
        self.0.write_all(&whole).await?;
        self.0.flush().await
    }

    pub(crate) async fn message(&mut self, message: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(message).map_err(invalid)?;
        self.frame(MESSAGE, &bytes).await
    }

    pub(crate) async fn end(&mut self, message: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(message).map_err(invalid)?;
        self.frame(END, &bytes).await
    }

    pub(crate) async fn answer<T: Serialize>(&mut self, answer: &Answer<T>) -> io::Result<()> {
        self.message(answer).await
    }
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Lets the kernel find out within seconds that the other server is gone: a pulled cable says nothing.
pub(crate) fn watch_over(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    let millis = u32::try_from(SILENCE_MAX.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, millis)?)
}
