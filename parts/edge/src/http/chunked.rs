//! The chunked transfer coding, followed byte by byte without copying (RFC 9112 section 7.1).

/// Where in a chunked body the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Digits of a size; how many were seen.
    Size {
        digits: u8,
    },
    /// Behind the size, up to CR. Extensions are passed over.
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// First byte of a trailer line, or the CR of the last, empty one.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    EndLineFeed,
    Done,
}

/// Digits of the largest size; more could overflow another reader's number.
const DIGITS_MAX: u8 = 15;
/// The longest size line with extensions, and all trailers together, in bytes.
const OVERHEAD_MAX: usize = 16 * 1024;

/// Follows a chunked body.
#[derive(Debug)]
pub(crate) struct ChunkScanner {
    at: At,
    left: u64,
    overhead: usize,
    in_trailers: bool,
}

/// The body breaks the coding's grammar, or its overhead is absurd.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a chunked body is made of besides its framing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Data(&'a [u8]),
    /// Bytes of trailer lines with their line ends, without the empty last one.
    Trailers(&'a [u8]),
}

/// What a scan found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Bytes that belong to the body's encoding.
    pub(crate) used: usize,
    /// Whether the last chunk and the trailers are complete.
    pub(crate) done: bool,
}

impl ChunkScanner {
    pub(crate) fn new() -> Self {
        ChunkScanner {
            at: At::Size { digits: 0 },
            left: 0,
            overhead: 0,
            in_trailers: false,
        }
    }

    /// Advances over `bytes`, giving what they carry to `part`. Stops behind the body's end.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        mut part: impl FnMut(Part<'_>),
    ) -> Result<Scanned, Malformed> {
        let mut used = 0;
        while used < bytes.len() && self.at != At::Done {
            if self.at == At::Data {
                let piece = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - used);
                part(Part::Data(&bytes[used..used + piece]));
                used += piece;
                self.left -= piece as u64;
                if self.left == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            self.at = self.next(bytes[used])?;
            if matches!(
                self.at,
                At::TrailerName | At::TrailerValue | At::TrailerLineFeed
            ) || (self.at == At::TrailerStart && self.in_trailers)
            {
                self.in_trailers = true;
                part(Part::Trailers(&bytes[used..=used]));
            }
            used += 1;
            self.overhead += 1;
            if self.overhead > OVERHEAD_MAX {
                return Err(Malformed);
            }
        }
        Ok(Scanned {
            used,
            done: self.at == At::Done,
        })
    }

    fn next(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            (At::Size { digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < DIGITS_MAX =>
            {
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                self.left = self.left << 4 | u64::from(digit);
                At::Size { digits: digits + 1 }
            }
            (At::Size { digits: 1.. }, b'\r') => At::SizeLineFeed,
            (At::Size { digits: 1.. }, b';') => At::Extension,
            (At::Extension, b'\r') => At::SizeLineFeed,
            (At::Extension, _) if is_text(byte) => At::Extension,
            (At::SizeLineFeed, b'\n') if self.left == 0 => At::TrailerStart,
            (At::SizeLineFeed, b'\n') => {
                self.overhead = 0;
                At::Data
            }
            (At::DataReturn, b'\r') => At::DataLineFeed,
            (At::DataLineFeed, b'\n') => At::Size { digits: 0 },
            (At::TrailerStart, b'\r') => At::EndLineFeed,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerStart | At::TrailerName, _) if is_token(byte) => At::TrailerName,
            (At::TrailerValue, b'\r') => At::TrailerLineFeed,
            (At::TrailerValue, _) if is_text(byte) => At::TrailerValue,
            (At::TrailerLineFeed, b'\n') => At::TrailerStart,
            (At::EndLineFeed, b'\n') => At::Done,
            _ => return Err(Malformed),
        })
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut scanner, mut data, mut used) = (ChunkScanner::new(), Vec::new(), 0);
        let mut done = false;
        for piece in bytes.chunks(step) {
            let scanned = scanner.scan(piece, |part| {
                if let Part::Data(part) = part {
                    data.extend_from_slice(part);
                }
            })?;
            used += scanned.used;
            done = scanned.done;
            if done {
                break;
            }
        }
        Ok((data, used, done))
    }

    #[test]
    fn bodies_end_where_the_grammar_says() {
        let body = b"5;name=\"v\"\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nGET /next";
        for step in 1..body.len() {
            let (data, used, done) = decode(body, step).unwrap();
            assert_eq!(
                (data.as_slice(), done),
                (b"hello world".as_slice(), true),
                "step {step}"
            );
            assert_eq!(&body[used..], b"GET /next");
        }
    }

    #[test]
    fn trailers_are_set_aside() {
        let body = b"1\r\na\r\n0\r\nX-Sum: 1\r\nGrpc-Status: 0\r\n\r\n";
        for step in 1..body.len() {
            let (mut scanner, mut trailers) = (ChunkScanner::new(), Vec::new());
            for piece in body.chunks(step) {
                scanner
                    .scan(piece, |part| {
                        if let Part::Trailers(bytes) = part {
                            trailers.extend_from_slice(bytes);
                        }
                    })
                    .unwrap();
            }
            assert_eq!(trailers, b"X-Sum: 1\r\nGrpc-Status: 0\r\n", "step {step}");
        }
    }

    #[test]
    fn broken_codings_are_refused() {
        for wrong in [
            "\r\n",
            "g\r\n",
            "5\nhello",
            "5\r\nhelloX",
            "5 \r\nhello\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n",
            "5;a\nb\r\n",
            "0\r\n\n",
            "0\r\n folded\r\n\r\n",
            "ffffffffffffffffff\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0000000000000005\r\nhello\r\n",
            "5;a\rb\r\n",
            "0\r\nbad name: x\r\n\r\n",
            "0\r\nno-colon\r\n\r\n",
            "0\r\nx: a\rb\r\n\r\n",
            "0\r\nx: a\0\r\n\r\n",
        ] {
            assert_eq!(decode(wrong.as_bytes(), 3), Err(Malformed), "{wrong:?}");
        }
        let flood = format!("1;{}\r\n", "x".repeat(OVERHEAD_MAX));
        assert_eq!(decode(flood.as_bytes(), 1000), Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn any_split_decodes_alike(
            chunks in proptest::collection::vec(proptest::collection::vec(0u8..=255, 1..40), 0..6),
            step in 1usize..17,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let (data, used, done) = decode(&body, step).unwrap();
            proptest::prop_assert!(done);
            proptest::prop_assert_eq!(used, body.len());
            proptest::prop_assert_eq!(data, chunks.concat());
        }
    }
}
