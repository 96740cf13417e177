//! Writes of one turn of a connection, put together.
//!
//! The protocol's implementation writes and flushes frame by frame. A connection's task knows better when it has
//! nothing more to say: until then bytes are gathered, so that many small answers, or the four frames of 64 KiB, cost
//! one call of the kernel and as few TLS records as they fit in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes gathered at most: a large piece of a body with its frames' heads.
const FULL: usize = 72 * 1024;

/// A stream that gathers what is written.
#[derive(Debug)]
pub(super) struct Gathered<S>(Arc<Mutex<State<S>>>);

/// Lets out what was gathered.
#[derive(Debug)]
pub(super) struct Outflow<S>(Arc<Mutex<State<S>>>);

#[derive(Debug)]
struct State<S> {
    stream: S,
    out: Vec<u8>,
    /// Bytes at the beginning of `out` that the stream has taken.
    gone: usize,
    /// Flushing is left to [`Outflow`].
    gathers: bool,
}

impl<S> Gathered<S> {
    /// Gathers nothing until [`Outflow::gather`].
    pub(super) fn new(stream: S) -> (Gathered<S>, Outflow<S>) {
        let state = Arc::new(Mutex::new(State {
            stream,
            out: Vec::new(),
            gone: 0,
            gathers: false,
        }));
        (Gathered(Arc::clone(&state)), Outflow(state))
    }
}

impl<S> Outflow<S> {
    /// From now on, or no longer.
    pub(super) fn gather(&self, gathers: bool) {
        lock(&self.0).gathers = gathers;
    }

    /// Gives memory back; for a connection that waits.
    pub(super) fn rest(&self) {
        let mut state = lock(&self.0);
        if state.out.is_empty() {
            state.out = Vec::new();
        }
    }
}

impl<S: AsyncWrite + Unpin> Outflow<S> {
    /// Ready once everything has left.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outflow<S> {
    /// Ends our side, then passes over what the other side still sends until it ends its own, `most` bytes at most.
    ///
    /// Closing with bytes unread would reset the connection and could take away what was said last.
    pub(super) async fn linger(&self, most: usize) {
        let mut stream = Gathered(Arc::clone(&self.0));
        if stream.shutdown().await.is_err() {
            return;
        }
        let (mut left, mut piece) = (most, vec![0; 16 * 1024]);
        while left > 0 {
            match stream.read(&mut piece).await {
                Ok(count) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> State<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.gone < self.out.len() {
            let left = &self.out[self.gone..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.gone += count,
            }
        }
        self.out.clear();
        self.gone = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ready once there is room for `count` bytes.
    fn poll_room(&mut self, cx: &mut Context<'_>, count: usize) -> Poll<io::Result<()>> {
        if self.out.is_empty() || self.out.len() + count <= FULL {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx)
    }
}

fn lock<S>(state: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    state.lock().expect("no holder of this lock panics")
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        ready!(state.poll_room(cx, bytes.len()))?;
        state.out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = slices.iter().map(|slice| slice.len()).sum();
        let mut state = lock(&self.0);
        ready!(state.poll_room(cx, count))?;
        for slice in slices {
            state.out.extend_from_slice(slice);
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if state.gathers {
            return Poll::Ready(Ok(()));
        }
        state.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        ready!(state.poll_flush(cx))?;
        Pin::new(&mut state.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{DuplexStream, duplex};

    use super::*;

    async fn flush(outflow: &Outflow<DuplexStream>) {
        poll_fn(|cx| outflow.poll_flush(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn frames_leave_together_and_in_order() {
        let (near, mut far) = duplex(1 << 20);
        let (mut gathered, outflow) = Gathered::new(near);
        gathered.write_all(b"greeting ").await.unwrap();
        gathered.flush().await.unwrap();
        outflow.gather(true);
        for frame in [&b"one "[..], b"two "] {
            gathered.write_all(frame).await.unwrap();
            gathered.flush().await.unwrap();
        }
        let mut read = [0; 64];
        let count = far.read(&mut read).await.unwrap();
        assert_eq!(&read[..count], b"greeting ");
        flush(&outflow).await;
        let count = far.read(&mut read).await.unwrap();
        assert_eq!(&read[..count], b"one two ");
        gathered.write_all(b"last").await.unwrap();
        gathered.shutdown().await.unwrap();
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"last");
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_stops_the_writer_and_loses_nothing() {
        let (near, mut far) = duplex(1000);
        let (mut gathered, outflow) = Gathered::new(near);
        outflow.gather(true);
        let body: Vec<u8> = (0..FULL * 3).map(|at| (at / 7) as u8).collect();
        let writing = async {
            for piece in body.chunks(16_384) {
                gathered.write_all(piece).await.unwrap();
                assert!(lock(&gathered.0).out.len() <= FULL);
            }
            flush(&outflow).await;
            gathered.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, count) = tokio::join!(writing, far.read_to_end(&mut read));
        assert!(count.is_ok() && read == body);
        outflow.rest();
        assert_eq!(lock(&outflow.0).out.capacity(), 0);
    }
}
