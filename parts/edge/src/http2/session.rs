//! The state of a client's connection that its streams share with whoever reads and writes it.
//!
//! Pure: frames are taken from bytes (`inlet`) and put into an [`Outbox`]. All of it happens on the connection's own task;
//! the lock around a session is for the compiler.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use super::closed::Closed;
use super::crew::{Calls, MEMBERS_MAX};
use super::flood::{Fate, Tally};
use super::frame::{PAYLOAD_MAX, Reason, WINDOW, flag, kind, setting};
use super::hpack::{Decoder, Encoder};
use super::inlet::Block;
use super::outbox::Outbox;
use super::request::{Incoming, Tag};
use super::stream::{Job, Stream};
use super::{chunk, trailers};
use crate::http::head::Refused;

/// Requests of one connection served at once; a client that opens more waits.
pub(super) const STREAMS_MAX: usize = MEMBERS_MAX;
/// What a client may send of one body, and of all, before we have passed it on.
pub(super) const STREAM_WINDOW: u32 = 256 * 1024;
pub(super) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Heads that are kept for the next requests.
const SPARE_MAX: usize = 16;
/// The payload of the ping that follows a goodbye.
pub(super) const FAREWELL: [u8; 8] = *b"farewell";

pub(super) type Shared = Arc<Mutex<Session>>;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) outbox: Outbox,
    pub(super) decoder: Decoder<Tag>,
    encoder: Encoder,
    pub(super) calls: Arc<Calls>,
    pub(super) streams: Vec<Stream>,
    free: Vec<usize>,
    /// Streams that are open for the client.
    pub(super) open: usize,
    /// Streams that wait for room in the outbox or the connection's window.
    waiting: u128,
    pub(super) closed: Closed,
    /// The highest number of a stream that was looked at.
    pub(super) last_id: u32,
    pub(super) send_window: i64,
    /// What streams may be sent in the beginning.
    pub(super) first_window: i64,
    pub(super) receive_window: i64,
    /// Bytes used up that the client was not told of.
    owed: u32,
    /// A block of fields that goes on in the next frame.
    pub(super) block: Option<Block>,
    /// The client's settings have come.
    pub(super) settled: bool,
    pub(super) goodbye: Goodbye,
    pub(super) tally: Tally,
    fate: Fate,
    /// The client mostly gives requests up.
    abused: bool,
    pub(super) spare: Vec<Incoming>,
    /// The most that the fields of a request may have.
    pub(super) header_bytes: usize,
}

/// How far a connection is with ending in order (RFC 9113, 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    No,
    /// The client was told; requests it has sent before it knew are served.
    Said,
    /// It knows; requests after this one are not.
    Heard(u32),
}

pub(super) fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().expect("no holder of this lock panics")
}

impl Session {
    /// Begins with our settings in the outbox. `header_bytes` are the most a request's head may have.
    pub(super) fn new(header_bytes: usize, calls: Arc<Calls>) -> Session {
        let mut outbox = Outbox::default();
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, STREAMS_MAX as u32),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (
                setting::MAX_HEADER_LIST_SIZE,
                u32::try_from(header_bytes).unwrap_or(u32::MAX),
            ),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let payload: Vec<u8> = settings
            .into_iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        outbox.frame(kind::SETTINGS, 0, 0, &payload);
        outbox.window(0, CONNECTION_WINDOW - WINDOW);
        Session {
            outbox,
            decoder: Decoder::new(Tag::of),
            encoder: Encoder::new(),
            calls,
            streams: Vec::new(),
            free: Vec::new(),
            open: 0,
            waiting: 0,
            closed: Closed::new(),
            last_id: 0,
            send_window: WINDOW.into(),
            first_window: WINDOW.into(),
            receive_window: CONNECTION_WINDOW.into(),
            owed: 0,
            block: None,
            settled: false,
            goodbye: Goodbye::No,
            tally: Tally::new(),
            fate: Fate::default(),
            abused: false,
            spare: Vec::new(),
            header_bytes,
        }
    }

    /// Whether no request is being served.
    pub(super) fn is_idle(&self) -> bool {
        self.free.len() == self.streams.len()
    }

    /// Whether the client does hardly anything but make work.
    pub(super) fn is_burden(&mut self) -> bool {
        self.abused || self.tally.is_flood(self.outbox.sent())
    }

    /// Whether a stream could be seated.
    pub(super) fn has_seat(&self) -> bool {
        !self.free.is_empty() || self.streams.len() < STREAMS_MAX
    }

    /// Gives memory back; for a connection that waits.
    pub(super) fn rest(&mut self) {
        if self.is_idle() {
            (self.streams, self.free, self.spare) = (Vec::new(), Vec::new(), Vec::new());
            self.outbox.rest();
            self.decoder.rest();
        }
    }

    /// Says goodbye, once.
    pub(super) fn say_goodbye(&mut self) {
        if self.goodbye == Goodbye::No {
            self.goodbye = Goodbye::Said;
            self.outbox
                .goodbye(super::frame::NUMBER_MAX, Reason::NO_ERROR);
            self.outbox.frame(kind::PING, 0, 0, &FAREWELL);
        }
    }

    /// Whether there is nothing left to do or say.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.goodbye, Goodbye::Heard(_)) && self.is_idle() && self.outbox.is_empty()
    }

    /// The client remembers so much of our fields.
    pub(super) fn resize_table(&mut self, most: u32) {
        self.encoder
            .resize(usize::try_from(most).unwrap_or(usize::MAX));
    }

    pub(super) fn place(&self, id: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }

    /// Gives a stream a place, which is called. There must be one.
    pub(super) fn seat(&mut self, id: u32, job: Job, ended: bool) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.streams.push(Stream::default());
            self.streams.len() - 1
        });
        let stream = &mut self.streams[place];
        stream.id = id;
        stream.expected = job.0.length;
        stream.job = Some(job);
        stream.client_ended = ended;
        stream.receive_window = STREAM_WINDOW.into();
        stream.send_window = self.first_window;
        self.open += 1;
        self.calls.call(place);
    }

    /// The job of a place, once it has one.
    pub(super) fn take_job(&mut self, place: usize) -> Option<Job> {
        // Between two jobs, a crew that was dismissed has no places.
        self.streams.get_mut(place)?.job.take()
    }

    /// Frees a place. A stream that is not over on both sides is reset, for `reason` if it has no whole answer.
    pub(super) fn leave(&mut self, place: usize, inbound: Incoming, reason: Reason) {
        let stream = &self.streams[place];
        let (gave_up, unused) = (stream.reset, stream.unused());
        if !stream.reset {
            let reason = if stream.we_ended {
                Reason::NO_ERROR
            } else {
                reason
            };
            let is_over = stream.we_ended && stream.client_ended;
            if !is_over {
                self.outbox.reset(stream.id, reason);
            }
            self.closed.add(stream.id, !is_over);
            self.open -= 1;
        }
        self.owe(unused);
        self.streams[place].clear();
        self.free.push(place);
        self.waiting &= !(1 << place);
        self.judge(gave_up);
        if self.spare.len() < SPARE_MAX {
            self.spare.push(inbound);
        }
    }

    /// Counts a request that has ended.
    pub(super) fn judge(&mut self, gave_up: bool) {
        self.abused |= self.fate.is_abuse(gave_up);
    }

    /// Ends a stream for an error of the client.
    pub(super) fn fail(&mut self, place: usize, reason: Reason) {
        self.outbox.reset(self.streams[place].id, reason);
        self.drop_stream(place, true);
    }

    /// Ends a stream that was reset; whoever serves it leaves when called.
    pub(super) fn drop_stream(&mut self, place: usize, is_ours: bool) {
        let stream = &mut self.streams[place];
        self.closed.add(stream.id, is_ours);
        (stream.id, stream.reset) = (0, true);
        self.open -= 1;
        self.calls.call(place);
    }

    /// Ends a stream that was not seated for an error of the client.
    pub(super) fn turn_away(&mut self, id: u32, reason: Reason) {
        self.outbox.reset(id, reason);
        self.closed.add(id, true);
        self.judge(true);
    }

    /// Bytes of bodies were used up: the client is told when it is worth a frame.
    pub(super) fn owe(&mut self, count: usize) {
        self.owed += u32::try_from(count).unwrap_or(0);
        if self.owed >= CONNECTION_WINDOW / 2 {
            self.receive_window += i64::from(self.owed);
            self.outbox.window(0, std::mem::take(&mut self.owed));
        }
    }

    /// The same for bytes of a stream that is open.
    pub(super) fn owe_stream(&mut self, place: usize, count: usize) {
        self.owe(count);
        let stream = &mut self.streams[place];
        stream.owed += u32::try_from(count).unwrap_or(0);
        if stream.owed >= STREAM_WINDOW / 2 && !stream.client_ended && !stream.reset {
            let more = std::mem::take(&mut stream.owed);
            stream.receive_window += i64::from(more);
            self.outbox.window(stream.id, more);
        }
    }

    /// Puts what has arrived of a body in the place of `piece`, whose content is used up; whether it is the last.
    pub(super) fn poll_receive(
        &mut self,
        place: usize,
        piece: &mut Vec<u8>,
    ) -> Poll<io::Result<bool>> {
        let lent = std::mem::take(&mut self.streams[place].lent);
        if lent > 0 {
            self.owe_stream(place, lent);
        }
        let stream = &mut self.streams[place];
        piece.clear();
        std::mem::swap(piece, &mut stream.incoming);
        if piece.is_empty() {
            piece.resize(chunk::ROOM, 0);
        }
        stream.lent = piece.len() - chunk::ROOM;
        if stream.client_ended || stream.lent > 0 {
            Poll::Ready(Ok(stream.client_ended))
        } else if stream.reset {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        } else {
            Poll::Pending
        }
    }

    /// Sends the head of an answer, with fields that `each` gives.
    pub(super) fn send_head(
        &mut self,
        place: usize,
        status: u16,
        each: impl FnOnce(&mut dyn FnMut(&[u8], &[u8])),
    ) {
        let stream = &mut self.streams[place];
        if stream.reset || stream.we_ended {
            return;
        }
        let encoder = &mut self.encoder;
        let sent = self.outbox.headers(0, stream.id, |out| {
            encoder.begin(Some(status), out);
            each(&mut |name, value| encoder.field(name, value, out));
        });
        stream.last = Some(sent);
    }

    /// Sends the beginning of `data` that there is room for and takes it away; ready once it is empty.
    pub(super) fn poll_send(&mut self, place: usize, data: &mut &[u8]) -> Poll<io::Result<()>> {
        let stream = &mut self.streams[place];
        while !data.is_empty() {
            if stream.reset || stream.we_ended {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let window = usize::try_from(stream.send_window).unwrap_or(0);
            let all = usize::try_from(self.send_window).unwrap_or(0);
            if window == 0 {
                return Poll::Pending;
            }
            if all == 0 || self.outbox.is_full() {
                self.waiting |= 1 << place;
                return Poll::Pending;
            }
            let count = data.len().min(PAYLOAD_MAX).min(window).min(all);
            let (now, later) = data.split_at(count);
            stream.last = Some(self.outbox.frame(kind::DATA, 0, stream.id, now));
            stream.send_window -= count as i64;
            self.send_window -= count as i64;
            *data = later;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends our side, with trailers if `lines` holds any.
    ///
    /// # Errors
    /// The stream was reset, or the lines are no trailers.
    pub(super) fn send_end(&mut self, place: usize, lines: &[u8]) -> io::Result<()> {
        let stream = &mut self.streams[place];
        if stream.reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut fields = Vec::new();
        if !lines.is_empty() {
            let put = |name: &[u8], value: &[u8]| fields.push((name.to_vec(), value.to_vec()));
            trailers::read(lines, put).map_err(|Refused { reason, .. }| {
                io::Error::new(io::ErrorKind::InvalidInput, reason)
            })?;
        }
        stream.we_ended = true;
        if !fields.is_empty() {
            let encoder = &mut self.encoder;
            self.outbox.headers(flag::END_STREAM, stream.id, |out| {
                encoder.begin(None, out);
                for (name, value) in &fields {
                    encoder.field(name, value, out);
                }
            });
        } else if !stream.last.is_some_and(|last| self.outbox.end_at(last)) {
            self.outbox
                .frame(kind::DATA, flag::END_STREAM, stream.id, &[]);
        }
        Ok(())
    }

    /// Calls those that wait for what there is again.
    pub(super) fn call_waiting(&mut self) {
        if self.waiting != 0 && self.send_window > 0 && !self.outbox.is_full() {
            self.calls.call_all(std::mem::take(&mut self.waiting));
        }
    }
}

#[cfg(test)]
mod tests;
