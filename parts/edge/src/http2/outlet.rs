//! The sending side of a stream to a machine: DATA frames as the windows allow.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::links::into_io;
use super::trailers;

/// Bytes given to the connection at once; it cuts them into frames.
pub(super) const PIECE: usize = 64 * 1024;

/// Sends all of `data`, as fast as the receiver takes it; `last` ends the stream with its last byte.
pub(super) async fn send(
    stream: &mut SendStream<Bytes>,
    mut data: &[u8],
    last: bool,
) -> io::Result<()> {
    while !data.is_empty() {
        let room = poll_fn(|cx| poll_room(stream, data.len(), cx)).await?;
        let (now, later) = data.split_at(room);
        data = later;
        let end = last && data.is_empty();
        stream
            .send_data(Bytes::copy_from_slice(now), end)
            .map_err(into_io)?;
    }
    Ok(())
}

/// Ends the stream, with trailers if `lines` holds any.
pub(super) fn end(stream: &mut SendStream<Bytes>, lines: &[u8]) -> io::Result<()> {
    if lines.is_empty() {
        return stream.send_data(Bytes::new(), true).map_err(into_io);
    }
    let mut fields = HeaderMap::new();
    let put = |name: &[u8], value: &[u8]| {
        // What the reader of HTTP/1 takes, HTTP/2 can carry.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            fields.append(name, value);
        }
    };
    trailers::read(lines, put)
        .map_err(|refused| io::Error::new(io::ErrorKind::InvalidInput, refused.reason))?;
    if fields.is_empty() {
        stream.send_data(Bytes::new(), true).map_err(into_io)
    } else {
        stream.send_trailers(fields).map_err(into_io)
    }
}

/// How many of `wanted` bytes the windows allow now, at least one.
pub(super) fn poll_room(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let wanted = wanted.min(PIECE);
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
    Poll::Ready(Ok(stream.capacity().min(wanted)))
}
