//! Pieces of a body in the form of HTTP/1's chunks.

/// Room that a buffer has in front of a piece for its size.
pub(super) const ROOM: usize = 10;

/// Makes a chunk of what stands behind [`ROOM`] in `buffer`, followed by the body's end with its lines of trailers, if
/// it has come. Where the chunk begins.
pub(super) fn enclose(buffer: &mut Vec<u8>, end: Option<&[u8]>) -> usize {
    let mut start = ROOM;
    let count = buffer.len() - ROOM;
    if count > 0 {
        let line = format!("{count:x}\r\n");
        start -= line.len();
        buffer[start..ROOM].copy_from_slice(line.as_bytes());
        buffer.extend_from_slice(b"\r\n");
    }
    if let Some(trailers) = end {
        for part in [b"0\r\n", trailers, b"\r\n"] {
            buffer.extend_from_slice(part);
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_chunks() {
        for (data, end, wanted) in [
            (&b"hello world!!!!!"[..], None, "10\r\nhello world!!!!!\r\n"),
            (b"", Some(&b""[..]), "0\r\n\r\n"),
            (b"x", Some(b"a: b\r\n"), "1\r\nx\r\n0\r\na: b\r\n\r\n"),
        ] {
            let mut buffer = [&[0; ROOM][..], data].concat();
            let start = enclose(&mut buffer, end);
            assert_eq!(buffer[start..], *wanted.as_bytes());
        }
    }
}
