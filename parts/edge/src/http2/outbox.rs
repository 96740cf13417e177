//! What a connection has to say: frames put together until its turn ends, so that many small answers, or the frames of a
//! large one, cost one call of the kernel and as few TLS records as they fit in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::frame::{FrameHead, HEAD, PAYLOAD_MAX, Reason, flag, kind};

/// Bytes from which on bodies have to wait.
const FULL: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// How many of them the stream has taken.
    gone: usize,
    /// Bytes of the connection in front of them.
    before: u64,
    flushes: bool,
}

/// Where a frame is among the bytes of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u64);

impl Outbox {
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Gives memory back; for a connection that waits.
    pub(super) fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Place {
        let place = Place(self.before + self.bytes.len() as u64);
        let head = FrameHead {
            length: payload.len(),
            kind,
            flags,
            stream,
        };
        self.bytes.reserve(HEAD + payload.len());
        self.bytes.extend_from_slice(&head.bytes());
        self.bytes.extend_from_slice(payload);
        place
    }

    /// A block of fields that `write` appends.
    pub(super) fn headers(
        &mut self,
        flags: u8,
        stream: u32,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Place {
        let place = self.frame(kind::HEADERS, flags | flag::END_HEADERS, stream, &[]);
        let from = self.bytes.len();
        write(&mut self.bytes);
        let length = self.bytes.len() - from;
        if length > PAYLOAD_MAX {
            let block = self.bytes.split_off(from);
            self.bytes.truncate(from - HEAD);
            self.long_headers(flags, stream, &block);
        } else {
            let [_, high, middle, low] = (length as u32).to_be_bytes();
            self.bytes[from - HEAD..][..3].copy_from_slice(&[high, middle, low]);
        }
        place
    }

    fn long_headers(&mut self, flags: u8, stream: u32, block: &[u8]) {
        let mut pieces = block.chunks(PAYLOAD_MAX).peekable();
        let (mut kind, mut flags) = (kind::HEADERS, flags);
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            self.frame(kind, flags, stream, piece);
            (kind, flags) = (kind::CONTINUATION, 0);
        }
    }

    pub(super) fn reset(&mut self, stream: u32, reason: Reason) {
        self.frame(kind::RST_STREAM, 0, stream, &reason.0.to_be_bytes());
    }

    pub(super) fn window(&mut self, stream: u32, more: u32) {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    }

    pub(super) fn goodbye(&mut self, last: u32, reason: Reason) {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&last.to_be_bytes());
        payload[4..].copy_from_slice(&reason.0.to_be_bytes());
        self.frame(kind::GOAWAY, 0, 0, &payload);
    }

    /// Makes the frame at `place` its stream's last, unless it has left.
    pub(super) fn end_at(&mut self, place: Place) -> bool {
        let at = place.0.checked_sub(self.before);
        let at = at.and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| *at >= self.gone) {
            Some(at) => {
                self.bytes[at + 4] |= flag::END_STREAM;
                true
            }
            None => false,
        }
    }

    /// Ready once everything has left.
    pub(super) fn poll_drain<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.gone < self.bytes.len() {
            let left = &self.bytes[self.gone..];
            match ready!(Pin::new(&mut *writer).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.gone += count,
            }
            self.flushes = true;
        }
        self.before += self.bytes.len() as u64;
        self.bytes.clear();
        self.gone = 0;
        if self.flushes {
            // TLS keeps what it could not send at once.
            ready!(Pin::new(writer).poll_flush(cx))?;
            self.flushes = false;
        }
        Poll::Ready(Ok(()))
    }

    /// What is to leave.
    #[cfg(test)]
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.before += self.bytes.len() as u64;
        std::mem::take(&mut self.bytes)
    }

    /// Bytes that have left so far.
    pub(super) fn sent(&self) -> u64 {
        self.before + self.gone as u64
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[test]
    fn long_blocks_go_on_in_frames_of_their_own() {
        let mut outbox = Outbox::default();
        let block: Vec<u8> = (0..PAYLOAD_MAX * 2 + 5).map(|at| (at / 9) as u8).collect();
        let place = outbox.headers(0, 7, |out| out.extend_from_slice(&block));
        assert!(outbox.end_at(place));
        let (mut rest, mut read, mut frames) = (outbox.bytes.as_slice(), Vec::new(), Vec::new());
        while let Some((head, payload)) = FrameHead::split(rest).unwrap() {
            frames.push((head.kind, head.flags, head.stream));
            read.extend_from_slice(payload);
            rest = &rest[HEAD + payload.len()..];
        }
        let continued = (kind::CONTINUATION, 0, 7);
        assert_eq!(
            frames,
            [
                (kind::HEADERS, flag::END_STREAM, 7),
                continued,
                (continued.0, flag::END_HEADERS, 7)
            ]
        );
        assert!(rest.is_empty() && read == block);
    }

    #[tokio::test]
    async fn a_frame_can_be_made_the_last_until_it_leaves() {
        let mut outbox = Outbox::default();
        let (mut near, mut far) = duplex(20);
        outbox.frame(kind::DATA, 0, 1, &[0; 4]);
        let second = outbox.frame(kind::DATA, 0, 3, &[0; 4]);
        let third = outbox.frame(kind::DATA, 0, 5, &[0; 4]);
        poll_fn(|cx| {
            assert!(outbox.poll_drain(cx, &mut near).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(!outbox.end_at(second) && outbox.end_at(third));
        let mut read = vec![0; 39];
        let draining = poll_fn(|cx| outbox.poll_drain(cx, &mut near));
        let (drained, _) = tokio::join!(draining, far.read_exact(&mut read));
        drained.unwrap();
        assert_eq!((read[17], read[30]), (0, flag::END_STREAM));
        assert!(!outbox.end_at(third) && outbox.sent() == 39);
        outbox.rest();
        assert_eq!(outbox.bytes.capacity(), 0);
    }
}
