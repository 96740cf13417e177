//! What a connection knows of one of its streams.

use super::chunk;
use super::outbox::Place;
use super::request::Incoming;
use crate::http::head::Refused;

/// Buffers that are kept for the next request of the place, in bytes.
const KEPT_MAX: usize = 16 * 1024;

/// A request that has come, with what is wrong with it.
pub(super) type Job = (Incoming, Option<Refused>);

/// One of the places that streams of a connection take one after another.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// 0 if there is none, or none any more.
    pub(super) id: u32,
    /// Nobody has begun to serve it.
    pub(super) job: Option<Job>,
    /// What has arrived of the body, behind [`chunk::ROOM`].
    pub(super) incoming: Vec<u8>,
    /// Lines, complete once the client has ended its side.
    pub(super) trailers: Vec<u8>,
    /// Bytes of the body that were taken and may not be used up yet.
    pub(super) lent: usize,
    /// Bytes used up that the client was not told of.
    pub(super) owed: u32,
    /// What the client may send, and be sent; settings can make windows negative.
    pub(super) receive_window: i64,
    pub(super) send_window: i64,
    /// Bytes to come, if the head has said how many.
    pub(super) expected: Option<u64>,
    pub(super) client_ended: bool,
    pub(super) we_ended: bool,
    /// It was reset by either side.
    pub(super) reset: bool,
    /// Our last frame.
    pub(super) last: Option<Place>,
}

impl Stream {
    /// Takes a piece of the body; whether it is what the head promised.
    pub(super) fn receive(&mut self, content: &[u8]) -> bool {
        if let Some(expected) = &mut self.expected {
            match expected.checked_sub(content.len() as u64) {
                Some(left) => *expected = left,
                None => return false,
            }
        }
        if !content.is_empty() {
            if self.incoming.is_empty() {
                self.incoming.resize(chunk::ROOM, 0);
            }
            self.incoming.extend_from_slice(content);
        }
        true
    }

    /// The client sends nothing more; whether it has sent all that the head promised.
    pub(super) fn end(&mut self) -> bool {
        self.client_ended = true;
        self.expected.unwrap_or(0) == 0
    }

    /// Bytes that have arrived and were not used up.
    pub(super) fn unused(&self) -> usize {
        self.incoming.len().saturating_sub(chunk::ROOM) + self.lent
    }

    /// Makes the place free.
    pub(super) fn clear(&mut self) {
        let (mut incoming, mut trailers) = (
            std::mem::take(&mut self.incoming),
            std::mem::take(&mut self.trailers),
        );
        for buffer in [&mut incoming, &mut trailers] {
            buffer.clear();
            buffer.shrink_to(KEPT_MAX);
        }
        *self = Stream {
            incoming,
            trailers,
            ..Stream::default()
        };
    }
}
