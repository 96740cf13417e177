//! As much of RFC 6455 as carries a tunnel: text messages of arbitrary bytes, whose boundaries mean nothing.
//!
//! Ready-made implementations refuse text that is not UTF-8, as the RFC wants; the official client sends nothing else
//! and takes a binary message for an error.

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// RFC 6455, 5.5.
const CONTROL_MAX: u64 = 125;

/// What a client must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a frame that is not masked")]
    NotMasked,
    #[error("a frame with reserved bits or an unknown kind")]
    Unknown,
    #[error("a control frame that is cut or too long")]
    Control,
}

/// What the other side asks for beside data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// To be answered with a pong of the same content.
    Ping(Vec<u8>),
    Close,
}

/// Reads frames of a client piece by piece; the data of a frame need not be there as a whole.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: Vec<u8>,
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    kind: u8,
    mask: [u8; 4],
    at: usize,
    left: u64,
    /// The content of a control frame.
    content: Vec<u8>,
}

impl Frames {
    /// Takes what was read: data is handed to `data`, requests are returned.
    pub(crate) fn take(
        &mut self,
        mut bytes: &mut [u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<Vec<Control>, Violation> {
        let mut asked = Vec::new();
        while !bytes.is_empty() || self.body.is_some() {
            let Some(body) = &mut self.body else {
                let taken = self.read_head(bytes)?;
                bytes = &mut bytes[taken..];
                continue;
            };
            let length =
                usize::try_from(body.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (piece, rest) = bytes.split_at_mut(length);
            for (index, byte) in piece.iter_mut().enumerate() {
                *byte ^= body.mask[(body.at + index) % 4];
            }
            body.at = (body.at + length) % 4;
            body.left -= length as u64;
            match body.kind {
                CONTINUATION | TEXT | BINARY => data(piece),
                _ => body.content.extend_from_slice(piece),
            }
            bytes = rest;
            if body.left > 0 {
                break;
            }
            let content = std::mem::take(&mut body.content);
            match body.kind {
                PING => asked.push(Control::Ping(content)),
                CLOSE => asked.push(Control::Close),
                _ => {}
            }
            self.body = None;
        }
        Ok(asked)
    }

    /// Completes the head of a frame as far as there are bytes; how many it took.
    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        for (index, byte) in bytes.iter().enumerate() {
            self.head.push(*byte);
            if let Some(body) = parse(&self.head)? {
                self.head.clear();
                self.body = Some(body);
                return Ok(index + 1);
            }
        }
        Ok(bytes.len())
    }
}

/// The head of a frame, once it is whole.
fn parse(head: &[u8]) -> Result<Option<Body>, Violation> {
    let [first, second, rest @ ..] = head else {
        return Ok(None);
    };
    let kind = first & 0x0f;
    if first & RESERVED != 0 || !matches!(kind, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG)
    {
        return Err(Violation::Unknown);
    }
    if second & MASKED == 0 {
        return Err(Violation::NotMasked);
    }
    let (left, rest) = match second & !MASKED {
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (u16::from_be_bytes(*length).into(), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        short => (u64::from(short), rest),
    };
    if kind >= CLOSE && (left > CONTROL_MAX || first & FINAL == 0) {
        return Err(Violation::Control);
    }
    let Some((mask, _)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    Ok(Some(Body {
        kind,
        mask: *mask,
        at: 0,
        left,
        content: Vec::new(),
    }))
}

/// Appends the head of a text message of `length` bytes from us.
pub(crate) fn begin_text(length: usize, out: &mut Vec<u8>) {
    head(TEXT, length, out);
}

/// The answer to a ping.
pub(crate) fn pong(content: &[u8], out: &mut Vec<u8>) {
    head(PONG, content.len(), out);
    out.extend_from_slice(content);
}

/// The last frame, without a reason.
pub(crate) fn close(out: &mut Vec<u8>) {
    head(CLOSE, 0, out);
}

fn head(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(FINAL | kind);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend(medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(first: u8, content: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        head(first & 0x0f, content.len(), &mut frame);
        frame[0] = first;
        frame[1] |= MASKED;
        let mask = [0x12, 0x34, 0x56, 0x78];
        frame.extend(mask);
        frame.extend(
            content
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        frame
    }

    proptest! {
        #[test]
        fn data_comes_back_however_it_is_cut(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5),
            cut in 1usize..40,
        ) {
            let mut stream = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                let kind = if index == 0 { TEXT } else { CONTINUATION };
                stream.extend(masked(if index + 1 == parts.len() { FINAL | kind } else { kind }, part));
                stream.extend(masked(FINAL | PING, b"?"));
            }
            let mut frames = Frames::default();
            let (mut found, mut pings) = (Vec::new(), 0);
            for piece in stream.chunks_mut(cut) {
                pings += frames.take(piece, |data| found.extend_from_slice(data)).unwrap().len();
            }
            prop_assert_eq!(found, parts.concat());
            prop_assert_eq!(pings, parts.len());
        }
    }

    #[test]
    fn long_frames_and_requests() {
        let content = vec![0xff; 70_000];
        let mut stream = masked(FINAL | BINARY, &content);
        stream.extend(masked(FINAL | CLOSE, &[3, 0xe8]));
        let mut found = Vec::new();
        let asked = Frames::default().take(&mut stream, |data| found.extend_from_slice(data));
        assert_eq!(asked.unwrap(), [Control::Close]);
        assert_eq!(found, content);
    }

    #[test]
    fn violations_are_named() {
        for (mut bytes, violation) in [
            (vec![FINAL | TEXT, 1, b'x'], Violation::NotMasked),
            (vec![0xc1, 0x80], Violation::Unknown),
            (vec![FINAL | 5, 0x80], Violation::Unknown),
            (vec![PING, 0x80], Violation::Control),
            (vec![FINAL | PING, 0xfe, 0, 200], Violation::Control),
        ] {
            let taken = Frames::default().take(&mut bytes, |_| {});
            assert_eq!(taken, Err(violation), "{bytes:?}");
        }
    }
}
