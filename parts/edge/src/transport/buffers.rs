//! Buffers that connections hold only while bytes are in them, and how they are filled and emptied.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes read at once.
const SMALL: usize = 16 * 1024;
/// The same once a read has filled that: a large body is under way.
const LARGE: usize = 64 * 1024;
/// Buffers a thread keeps for the next reads: as many connections as are commonly busy at one moment.
const SPARE_SMALL: usize = 64;
/// The same of those that have grown, and the largest of them.
const SPARE_GROWN: usize = 16;
const GROWN_BYTES_MAX: usize = 2 * LARGE;

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

/// An empty one; one that has grown if there is any: where bodies are large, the next one is too.
pub(crate) fn take() -> Vec<u8> {
    SPARE
        .with_borrow_mut(|spare| spare.grown.pop().or_else(|| spare.small.pop()))
        .unwrap_or_else(|| Vec::with_capacity(SMALL))
}

/// Keeps the memory of a buffer, which is empty, for the next one.
pub(crate) fn give_back(buffer: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        let (kept, most) = match buffer.capacity() {
            SMALL => (&mut spare.small, SPARE_SMALL),
            LARGE..=GROWN_BYTES_MAX => (&mut spare.grown, SPARE_GROWN),
            _ => return,
        };
        if kept.len() < most {
            kept.push(buffer);
        }
    });
}

/// Reads behind the bytes of `buffer` by `poll_read`; 0 means that the other side has ended. A connection that waits holds
/// no buffer: one is taken for the attempt to read and given back if nothing came.
pub(crate) fn poll_fill(
    buffer: &mut Vec<u8>,
    poll_read: impl FnOnce(&mut Vec<u8>) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    if buffer.capacity() == 0 {
        *buffer = take();
    }
    if buffer.capacity() - buffer.len() < SMALL / 4 {
        buffer.reserve(LARGE);
    }
    let free = buffer.capacity() - buffer.len();
    let read = poll_read(buffer);
    match read {
        Poll::Pending if buffer.is_empty() => give_back(std::mem::take(buffer)),
        Poll::Ready(Ok(count)) if count == free && free < LARGE => buffer.reserve(LARGE),
        Poll::Pending | Poll::Ready(_) => {}
    }
    read
}

/// Reads what is there behind the bytes of `buffer`, as much as it has room for.
pub(crate) fn poll_receive(
    tcp: &TcpStream,
    context: &mut Context<'_>,
    buffer: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let free = buffer.capacity() - buffer.len();
    loop {
        ready!(tcp.poll_read_ready(context))?;
        let mut received = None;
        let tried = tcp.try_io(Interest::READABLE, || {
            let (count, _) = rustix::net::recv(tcp, spare_capacity(buffer), RecvFlags::empty())?;
            received = Some(count);
            // The runtime takes it for empty now, which it is: the next event says when it no longer is.
            if (1..free).contains(&count) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match received.map_or_else(|| tried.map(|()| 0), Ok) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return Poll::Ready(received),
        }
    }
}

/// Sends as much as leaves at once, at least a byte.
pub(crate) fn poll_send(
    tcp: &TcpStream,
    context: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_write_ready(context))?;
        match try_send(tcp, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

/// The same without being told when there is room again.
pub(crate) fn try_send(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = None;
    let tried = tcp.try_io(Interest::WRITABLE, || {
        let count = rustix::net::send(tcp, bytes, SendFlags::NOSIGNAL)?;
        sent = Some(count);
        if (1..bytes.len()).contains(&count) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    });
    sent.map_or_else(|| tried.map(|()| 0), Ok)
}
