//! The chunked transfer coding, followed byte by byte without copying (RFC 9112 section 7.1).

/// Where in a chunked body the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Digits of a size; whether one was seen.
    Size {
        seen: bool,
    },
    /// Behind the size, up to CR. Extensions are passed over.
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// First byte of a trailer line, or the CR of the last, empty one.
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    EndLineFeed,
    Done,
}

/// The longest size line with extensions, and all trailers together, in bytes.
const OVERHEAD_MAX: usize = 16 * 1024;

/// Follows a chunked body.
#[derive(Debug)]
pub(crate) struct ChunkScanner {
    at: At,
    left: u64,
    overhead: usize,
}

/// The body breaks the coding's grammar, or its overhead is absurd.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

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
            at: At::Size { seen: false },
            left: 0,
            overhead: 0,
        }
    }

    /// Advances over `bytes`, giving the payload's pieces to `data`. Stops behind the body's end.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<Scanned, Malformed> {
        let mut used = 0;
        while used < bytes.len() && self.at != At::Done {
            if self.at == At::Data {
                let piece = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - used);
                data(&bytes[used..used + piece]);
                used += piece;
                self.left -= piece as u64;
                if self.left == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            self.at = self.next(bytes[used])?;
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
            (At::Size { .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                if self.left >> 56 != 0 {
                    return Err(Malformed);
                }
                self.left = self.left << 4 | u64::from(digit);
                At::Size { seen: true }
            }
            (At::Size { seen: true }, b'\r') => At::SizeLineFeed,
            (At::Size { seen: true }, b';') => At::Extension,
            (At::Extension, b'\r') => At::SizeLineFeed,
            (At::Extension, b'\n') => return Err(Malformed),
            (At::Extension, _) => At::Extension,
            (At::SizeLineFeed, b'\n') if self.left == 0 => At::TrailerStart,
            (At::SizeLineFeed, b'\n') => {
                self.overhead = 0;
                At::Data
            }
            (At::DataReturn, b'\r') => At::DataLineFeed,
            (At::DataLineFeed, b'\n') => At::Size { seen: false },
            (At::TrailerStart, b'\r') => At::EndLineFeed,
            (At::TrailerStart, b'\n' | b' ' | b'\t') => return Err(Malformed),
            (At::TrailerStart, _) => At::Trailer,
            (At::Trailer, b'\r') => At::TrailerLineFeed,
            (At::Trailer, b'\n') => return Err(Malformed),
            (At::Trailer, _) => At::Trailer,
            (At::TrailerLineFeed, b'\n') => At::TrailerStart,
            (At::EndLineFeed, b'\n') => At::Done,
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut scanner, mut data, mut used) = (ChunkScanner::new(), Vec::new(), 0);
        let mut done = false;
        for piece in bytes.chunks(step) {
            let scanned = scanner.scan(piece, |part| data.extend_from_slice(part))?;
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
