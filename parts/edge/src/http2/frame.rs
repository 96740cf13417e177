//! Frames (RFC 9113, 4 and 6): their heads, kinds and flags, and the reasons for ending streams and connections.

/// What every client begins with (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head.
pub(super) const HEAD: usize = 9;
/// The longest payload that everybody takes, and the longest we take or send.
pub(super) const PAYLOAD_MAX: usize = 16 * 1024;
/// The largest window, and the largest number of a stream.
pub(super) const NUMBER_MAX: u32 = 0x7fff_ffff;
/// Windows before anybody has spoken about them.
pub(super) const WINDOW: u32 = 65_535;

pub(super) mod kind {
    pub(in crate::http2) const DATA: u8 = 0;
    pub(in crate::http2) const HEADERS: u8 = 1;
    pub(in crate::http2) const PRIORITY: u8 = 2;
    pub(in crate::http2) const RST_STREAM: u8 = 3;
    pub(in crate::http2) const SETTINGS: u8 = 4;
    pub(in crate::http2) const PUSH_PROMISE: u8 = 5;
    pub(in crate::http2) const PING: u8 = 6;
    pub(in crate::http2) const GOAWAY: u8 = 7;
    pub(in crate::http2) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::http2) const CONTINUATION: u8 = 9;
}

pub(super) mod flag {
    pub(in crate::http2) const ACK: u8 = 1;
    pub(in crate::http2) const END_STREAM: u8 = 1;
    pub(in crate::http2) const END_HEADERS: u8 = 4;
    pub(in crate::http2) const PADDED: u8 = 8;
    pub(in crate::http2) const PRIORITY: u8 = 0x20;
}

/// Numbers of settings (RFC 9113, 6.5.2; RFC 8441, 3).
pub(super) mod setting {
    pub(in crate::http2) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in crate::http2) const ENABLE_PUSH: u16 = 2;
    pub(in crate::http2) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in crate::http2) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in crate::http2) const MAX_FRAME_SIZE: u16 = 5;
    pub(in crate::http2) const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub(in crate::http2) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// Why a stream or a connection ends (RFC 9113, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason(pub(super) u32);

impl Reason {
    pub(super) const NO_ERROR: Reason = Reason(0);
    pub(super) const PROTOCOL_ERROR: Reason = Reason(1);
    pub(super) const INTERNAL_ERROR: Reason = Reason(2);
    pub(super) const FLOW_CONTROL_ERROR: Reason = Reason(3);
    pub(super) const STREAM_CLOSED: Reason = Reason(5);
    pub(super) const FRAME_SIZE_ERROR: Reason = Reason(6);
    pub(super) const REFUSED_STREAM: Reason = Reason(7);
    pub(super) const COMPRESSION_ERROR: Reason = Reason(9);
    pub(super) const ENHANCE_YOUR_CALM: Reason = Reason(11);
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// 0 for the connection.
    pub(super) stream: u32,
}

impl FrameHead {
    /// The frame that `bytes` begin with; `None` until it is there as a whole.
    ///
    /// # Errors
    /// It is longer than we have allowed.
    pub(super) fn split(bytes: &[u8]) -> Result<Option<(FrameHead, &[u8])>, Reason> {
        let Some((&[high, middle, low, kind, flags, a, b, c, d], rest)) = bytes.split_first_chunk()
        else {
            return Ok(None);
        };
        let head = FrameHead {
            length: usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low),
            kind,
            flags,
            stream: u32::from_be_bytes([a, b, c, d]) & NUMBER_MAX,
        };
        if head.length > PAYLOAD_MAX {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        Ok(rest.get(..head.length).map(|payload| (head, payload)))
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding.
    pub(super) fn unpadded<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], Reason> {
        if !self.has(flag::PADDED) {
            return Ok(payload);
        }
        let (padding, rest) = payload.split_first().ok_or(Reason::FRAME_SIZE_ERROR)?;
        let length = rest.len().checked_sub(usize::from(*padding));
        Ok(&rest[..length.ok_or(Reason::PROTOCOL_ERROR)?])
    }

    pub(super) fn bytes(&self) -> [u8; HEAD] {
        let [_, high, middle, low] = (self.length as u32).to_be_bytes();
        let [a, b, c, d] = self.stream.to_be_bytes();
        [high, middle, low, self.kind, self.flags, a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_written_as_they_are_read() {
        let head = FrameHead {
            length: 3,
            kind: kind::DATA,
            flags: flag::PADDED,
            stream: 0x0102_0304,
        };
        let mut bytes = head.bytes().to_vec();
        bytes.extend_from_slice(&[1, 7, 0]);
        for cut in 0..bytes.len() {
            assert_eq!(FrameHead::split(&bytes[..cut]), Ok(None));
        }
        let (read, payload) = FrameHead::split(&bytes).unwrap().unwrap();
        assert_eq!((read, payload), (head, &[1, 7, 0][..]));
        assert_eq!(head.unpadded(payload), Ok(&[7][..]));
        assert_eq!(head.unpadded(&[3, 7, 0]), Err(Reason::PROTOCOL_ERROR));
        assert_eq!(head.unpadded(&[]), Err(Reason::FRAME_SIZE_ERROR));
        bytes[0] = 1;
        assert_eq!(FrameHead::split(&bytes), Err(Reason::FRAME_SIZE_ERROR));
    }
}
