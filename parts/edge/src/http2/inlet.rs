//! Frames that a client sends (RFC 9113, 5 and 6): what they change, and what is wrong with them.

use super::closed::Ending;
use super::frame::{FrameHead, NUMBER_MAX, PAYLOAD_MAX, Reason, flag, kind, setting};
use super::request::Flaw;
use super::session::{FAREWELL, Goodbye, STREAMS_MAX, Session};
use super::trailers;

/// Frames of one block of fields behind its first.
const CONTINUATIONS_MAX: u32 = 32;

/// A block of fields whose end has not come.
#[derive(Debug)]
pub(super) struct Block {
    id: u32,
    ended: bool,
    depends_on_itself: bool,
    bytes: Vec<u8>,
    continuations: u32,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// It has to come again once those who serve streams that are no more have left.
    NotYet,
}

impl Session {
    /// Takes the next frame. `key` makes the nonce of a WebSocket's handshake.
    ///
    /// # Errors
    /// The reason to end the connection for.
    pub(super) fn take_frame(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        key: &dyn Fn() -> String,
    ) -> Result<Taken, Reason> {
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.id)
        {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if !self.settled && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        self.tally.add(&head);
        match head.kind {
            kind::DATA => self.take_data(head, payload)?,
            kind::HEADERS => return self.take_headers(head, payload, key),
            kind::PRIORITY => self.take_priority(head, payload)?,
            kind::RST_STREAM => self.take_reset(head, payload)?,
            kind::SETTINGS => self.take_settings(head, payload)?,
            kind::PUSH_PROMISE => return Err(Reason::PROTOCOL_ERROR),
            kind::PING => self.take_ping(head, payload)?,
            // Of pushes, which we make none of.
            kind::GOAWAY if head.stream != 0 => return Err(Reason::PROTOCOL_ERROR),
            kind::WINDOW_UPDATE => self.take_window(head, payload)?,
            kind::CONTINUATION => self.take_continuation(head, payload, key)?,
            _ => {}
        }
        Ok(Taken::Yes)
    }

    /// Whether no frame but one of priority may have this number yet.
    fn is_unused(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.last_id
    }

    fn take_data(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if self.is_unused(head.stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let content = head.unpadded(payload)?;
        self.receive_window -= payload.len() as i64;
        if self.receive_window < 0 {
            return Err(Reason::FLOW_CONTROL_ERROR);
        }
        let Some(place) = self.place(head.stream) else {
            self.owe(payload.len());
            if self.closed.ending(head.stream) != Ending::Ours {
                self.turn_away(head.stream, Reason::STREAM_CLOSED);
            }
            return Ok(());
        };
        let stream = &mut self.streams[place];
        stream.receive_window -= payload.len() as i64;
        let padding = payload.len() - content.len();
        // What is taken in is given back by whoever uses it, or with the place.
        let (used, wrong) = if stream.client_ended {
            (payload.len(), Some(Reason::STREAM_CLOSED))
        } else if stream.receive_window < 0 {
            (payload.len(), Some(Reason::FLOW_CONTROL_ERROR))
        } else if !stream.receive(content) {
            (payload.len(), Some(Reason::PROTOCOL_ERROR))
        } else if head.has(flag::END_STREAM) && !stream.end() {
            (padding, Some(Reason::PROTOCOL_ERROR))
        } else {
            (padding, None)
        };
        match wrong {
            Some(reason) => {
                self.owe(used);
                self.fail(place, reason);
            }
            None => {
                self.owe_stream(place, used);
                self.calls.call(place);
            }
        }
        Ok(())
    }

    fn take_headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        key: &dyn Fn() -> String,
    ) -> Result<Taken, Reason> {
        let id = head.stream;
        if id.is_multiple_of(2) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if id > self.last_id && self.open < STREAMS_MAX && !self.has_seat() {
            return Ok(Taken::NotYet);
        }
        let mut fragment = head.unpadded(payload)?;
        let mut depends_on_itself = false;
        if head.has(flag::PRIORITY) {
            let (priority, rest) = fragment
                .split_first_chunk::<5>()
                .ok_or(Reason::FRAME_SIZE_ERROR)?;
            depends_on_itself = depends_on(priority) == id;
            fragment = rest;
        }
        let mut block = Block {
            id,
            ended: head.has(flag::END_STREAM),
            depends_on_itself,
            bytes: Vec::new(),
            continuations: 0,
        };
        if head.has(flag::END_HEADERS) {
            self.take_block(&block, fragment, key)?;
        } else {
            block.bytes.extend_from_slice(fragment);
            self.block = Some(block);
        }
        Ok(Taken::Yes)
    }

    fn take_continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        key: &dyn Fn() -> String,
    ) -> Result<(), Reason> {
        let mut block = self.block.take().ok_or(Reason::PROTOCOL_ERROR)?;
        block.bytes.extend_from_slice(payload);
        block.continuations += 1;
        // What is a little too long gets an answer that says so.
        let most = 2 * self.header_bytes + PAYLOAD_MAX;
        if block.bytes.len() > most || block.continuations > CONTINUATIONS_MAX {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        if head.has(flag::END_HEADERS) {
            let bytes = std::mem::take(&mut block.bytes);
            return self.take_block(&block, &bytes, key);
        }
        self.block = Some(block);
        Ok(())
    }

    /// Takes a whole block of fields: a request, the end of one, or neither.
    fn take_block(
        &mut self,
        block: &Block,
        bytes: &[u8],
        key: &dyn Fn() -> String,
    ) -> Result<(), Reason> {
        if let Some(place) = self.place(block.id) {
            return self.take_trailers(place, block, bytes);
        }
        let is_late = matches!(self.goodbye, Goodbye::Heard(last) if block.id > last);
        if block.id > self.last_id && !is_late {
            return self.take_request(block, bytes, key);
        }
        if is_late {
            self.last_id = self.last_id.max(block.id);
            self.closed.add(block.id, true);
        }
        match self.closed.ending(block.id) {
            Ending::Ours => {}
            Ending::Theirs => return Err(Reason::STREAM_CLOSED),
            Ending::Unknown => return Err(Reason::PROTOCOL_ERROR),
        }
        // Both sides have to remember the same fields.
        self.decoder
            .decode(bytes, |_, _, _| {})
            .map_err(|_| Reason::COMPRESSION_ERROR)
    }

    fn take_request(
        &mut self,
        block: &Block,
        bytes: &[u8],
        key: &dyn Fn() -> String,
    ) -> Result<(), Reason> {
        self.last_id = block.id;
        let mut inbound = self.spare.pop().unwrap_or_default();
        inbound.begin(self.header_bytes);
        self.decoder
            .decode(bytes, |name, value, tag| inbound.field(name, value, tag))
            .map_err(|_| Reason::COMPRESSION_ERROR)?;
        if self.open >= STREAMS_MAX {
            self.turn_away(block.id, Reason::REFUSED_STREAM);
            return Ok(());
        }
        let refused = match inbound.finish(block.ended, key) {
            Err(Flaw::Malformed) => return self.refuse_malformed(block.id),
            _ if block.depends_on_itself => return self.refuse_malformed(block.id),
            Err(Flaw::Refused(refused)) => Some(refused),
            Ok(()) => None,
        };
        self.seat(block.id, (inbound, refused), block.ended);
        Ok(())
    }

    fn refuse_malformed(&mut self, id: u32) -> Result<(), Reason> {
        self.turn_away(id, Reason::PROTOCOL_ERROR);
        Ok(())
    }

    fn take_trailers(&mut self, place: usize, block: &Block, bytes: &[u8]) -> Result<(), Reason> {
        let (mut lines, mut wrong) = (Vec::new(), false);
        let most = self.header_bytes;
        self.decoder
            .decode(bytes, |name, value, tag| {
                wrong |= !tag.is_plain() || lines.len() + name.len() + value.len() > most;
                if !wrong && trailers::may_trail(name) {
                    trailers::push(&mut lines, name, value);
                }
            })
            .map_err(|_| Reason::COMPRESSION_ERROR)?;
        let stream = &mut self.streams[place];
        if stream.client_ended {
            self.fail(place, Reason::STREAM_CLOSED);
        } else if wrong || !block.ended || block.depends_on_itself || !stream.end() {
            self.fail(place, Reason::PROTOCOL_ERROR);
        } else {
            stream.trailers = lines;
            self.calls.call(place);
        }
        Ok(())
    }

    /// Nobody's priorities are followed (RFC 9113, 5.3.2).
    fn take_priority(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if head.stream == 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let reason = match <&[u8; 5]>::try_from(payload) {
            Err(_) => Reason::FRAME_SIZE_ERROR,
            Ok(priority) if depends_on(priority) == head.stream => Reason::PROTOCOL_ERROR,
            Ok(_) => return Ok(()),
        };
        match self.place(head.stream) {
            Some(place) => self.fail(place, reason),
            None => return Err(reason),
        }
        Ok(())
    }

    fn take_reset(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if payload.len() != 4 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        if self.is_unused(head.stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if let Some(place) = self.place(head.stream) {
            self.drop_stream(place, false);
        }
        Ok(())
    }

    fn take_settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() || (head.has(flag::ACK) && !payload.is_empty()) {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        if head.has(flag::ACK) {
            return Ok(());
        }
        for [high, low, value @ ..] in settings {
            self.set(
                u16::from_be_bytes([*high, *low]),
                u32::from_be_bytes(*value),
            )?;
        }
        self.settled = true;
        self.outbox.frame(kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    fn set(&mut self, name: u16, value: u32) -> Result<(), Reason> {
        match name {
            setting::HEADER_TABLE_SIZE => self.resize_table(value),
            setting::ENABLE_PUSH if value > 1 => return Err(Reason::PROTOCOL_ERROR),
            setting::INITIAL_WINDOW_SIZE if value > NUMBER_MAX => {
                return Err(Reason::FLOW_CONTROL_ERROR);
            }
            setting::INITIAL_WINDOW_SIZE => {
                let more = i64::from(value) - self.first_window;
                self.first_window = value.into();
                for (place, stream) in self.streams.iter_mut().enumerate() {
                    stream.send_window += more;
                    if stream.id != 0 && stream.send_window > NUMBER_MAX.into() {
                        return Err(Reason::FLOW_CONTROL_ERROR);
                    }
                    if more > 0 && stream.id != 0 {
                        self.calls.call(place);
                    }
                }
            }
            // We send no longer ones than everybody takes.
            setting::MAX_FRAME_SIZE if !(PAYLOAD_MAX..1 << 24).contains(&(value as usize)) => {
                return Err(Reason::PROTOCOL_ERROR);
            }
            setting::ENABLE_CONNECT_PROTOCOL if value > 1 => return Err(Reason::PROTOCOL_ERROR),
            _ => {}
        }
        Ok(())
    }

    fn take_ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if payload.len() != 8 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        if !head.has(flag::ACK) {
            self.outbox.frame(kind::PING, flag::ACK, 0, payload);
        } else if self.goodbye == Goodbye::Said && payload == FAREWELL {
            self.goodbye = Goodbye::Heard(self.last_id);
            self.outbox.goodbye(self.last_id, Reason::NO_ERROR);
        }
        Ok(())
    }

    fn take_window(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        let more = payload.try_into().map_err(|_| Reason::FRAME_SIZE_ERROR)?;
        let more = u32::from_be_bytes(more) & NUMBER_MAX;
        if head.stream == 0 {
            self.send_window += i64::from(more);
            return match more {
                0 => Err(Reason::PROTOCOL_ERROR),
                _ if self.send_window > NUMBER_MAX.into() => Err(Reason::FLOW_CONTROL_ERROR),
                _ => Ok(()),
            };
        }
        if self.is_unused(head.stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let Some(place) = self.place(head.stream) else {
            return Ok(());
        };
        let stream = &mut self.streams[place];
        stream.send_window += i64::from(more);
        if more == 0 {
            self.fail(place, Reason::PROTOCOL_ERROR);
        } else if stream.send_window > NUMBER_MAX.into() {
            self.fail(place, Reason::FLOW_CONTROL_ERROR);
        } else {
            self.calls.call(place);
        }
        Ok(())
    }
}

/// The stream that a priority names.
fn depends_on(priority: &[u8; 5]) -> u32 {
    let [a, b, c, d, _] = *priority;
    u32::from_be_bytes([a, b, c, d]) & NUMBER_MAX
}
