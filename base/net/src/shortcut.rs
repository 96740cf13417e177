//! Bytes of files that go to a peer without being read: the kernel moves its cached pages into the socket.
//!
//! The HTTP library writes nothing but memory. So the body of such an answer consists of a stand-in, memory that nobody
//! reads, and the connection's stream knows it by its address when it is to be written: it then moves as many bytes out of
//! the pipe that belongs to it. Pages come into that pipe on a thread that may wait for the disk, so that the connection
//! never does.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, stream};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Bytes on the way at once, all of which a pipe may hold.
const PIECE: usize = 1 << 20;

/// Never written to and never read, so it takes no memory.
static STAND_IN: [u8; PIECE] = [0; PIECE];

/// The way around this process of one connection; an extension of requests on connections that have one.
///
/// A body made by it must be handed on to the connection as it is: who reads it finds zeros, and the connection ends.
#[derive(Clone, Default)]
pub struct Shortcut(Arc<Mutex<VecDeque<Pages>>>);

/// What a stand-in under way stands for.
struct Pages {
    pipe: OwnedFd,
    left: usize,
}

impl Shortcut {
    /// The bytes of `file` from `from` on, `count` of them, as the body of an answer on this connection.
    ///
    /// # Errors
    /// What the disk says; `UnexpectedEof` if the file is shorter.
    pub fn body(
        &self,
        file: File,
        from: u64,
        count: u64,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let (shortcut, file) = (self.clone(), Arc::new(file));
        let fill = move |from, left| {
            let file = Arc::clone(&file);
            (left > 0).then(|| tokio::task::spawn_blocking(move || Pages::of(&file, from, left)))
        };
        let first = fill(from, count);
        stream::try_unfold((from, count, first), move |(from, left, filling)| {
            let (shortcut, fill) = (shortcut.clone(), fill.clone());
            async move {
                let Some(filling) = filling else {
                    return Ok(None);
                };
                let pages = filling.await.map_err(io::Error::other)??;
                let moved = pages.left;
                shortcut.pages().push_back(pages);
                let piece = Bytes::from_static(&STAND_IN[..moved]);
                let (from, left) = (from + moved as u64, left - moved as u64);
                // The disk is asked for the next while this one leaves.
                Ok(Some((piece, (from, left, fill(from, left)))))
            }
        })
    }

    fn pages(&self) -> MutexGuard<'_, VecDeque<Pages>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Pages {
    /// Waits for the disk.
    fn of(file: &File, mut from: u64, left: u64) -> io::Result<Pages> {
        let (pipe, end) = pipe_with(PipeFlags::CLOEXEC)?;
        // A system that grants less moves less at once.
        let _ = fcntl_setpipe_size(&end, PIECE);
        let wanted = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let mut filled = 0;
        while filled < wanted {
            // Not to wait is about the pipe; for the file it waits.
            match splice(
                file,
                Some(&mut from),
                &end,
                None,
                wanted - filled,
                SpliceFlags::NONBLOCK,
            ) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(moved) => filled += moved,
                Err(rustix::io::Errno::AGAIN) if filled > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Pages { pipe, left: filled })
    }
}

/// A connection that the kernel can move pages into.
pub trait Socket: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static {
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Does something that says `WouldBlock` if the socket has no room, after which it is no longer ready.
    fn try_write(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize>;
}

macro_rules! socket {
    ($stream:ty) => {
        impl Socket for $stream {
            fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                <$stream>::poll_write_ready(self, cx)
            }

            fn try_write(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
                self.try_io(Interest::WRITABLE, write)
            }
        }
    };
}

socket!(TcpStream);
socket!(UnixStream);

/// A connection with a shortcut.
pub(crate) struct ShortcutStream<S> {
    socket: S,
    shortcut: Shortcut,
}

impl<S> ShortcutStream<S> {
    pub(crate) fn new(socket: S) -> Self {
        let shortcut = Shortcut::default();
        Self { socket, shortcut }
    }

    pub(crate) fn shortcut(&self) -> Shortcut {
        self.shortcut.clone()
    }
}

fn is_stand_in(bytes: &[u8]) -> bool {
    STAND_IN.as_ptr_range().contains(&bytes.as_ptr())
}

impl<S: Socket> ShortcutStream<S> {
    /// Moves up to `count` bytes of what the stand-in whose turn it is stands for.
    fn poll_move(&self, cx: &mut Context<'_>, count: usize) -> Poll<io::Result<usize>> {
        let mut queue = self.shortcut.pages();
        let pages = queue
            .front_mut()
            .ok_or_else(|| io::Error::other("a stand-in of nothing"))?;
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            let moved = self.socket.try_write(|| {
                let wanted = count.min(pages.left);
                let (pipe, flags) = (&pages.pipe, SpliceFlags::NONBLOCK | SpliceFlags::MOVE);
                Ok(splice(pipe, None, &self.socket, None, wanted, flags)?)
            });
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(moved) => {
                    pages.left -= moved;
                    if pages.left == 0 {
                        queue.pop_front();
                    }
                    return Poll::Ready(Ok(moved));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: Socket> AsyncWrite for ShortcutStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        all: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stands_in = |bytes: &IoSlice<'_>| !bytes.is_empty() && is_stand_in(bytes);
        match all.iter().find(|bytes| !bytes.is_empty()) {
            Some(first) if is_stand_in(first) => self.poll_move(cx, first.len()),
            _ => {
                let before = all.iter().position(stands_in).unwrap_or(all.len());
                Pin::new(&mut self.socket).poll_write_vectored(cx, &all[..before])
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Everything was written: a stand-in that was copied on its way went out as what it is.
        if !self.shortcut.pages().is_empty() {
            return Poll::Ready(Err(io::Error::other("a stand-in was sent as it is")));
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<S: Socket> AsyncRead for ShortcutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}
