//! Trailers: lines behind a chunked body in HTTP/1, a second block of fields in HTTP/2.

use crate::http::head::Refused;

/// Fields that belong to one HTTP/1 connection (RFC 9113, 8.2.2); names in lower case.
pub(super) fn is_connection_field(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"transfer-encoding"
            | b"upgrade"
            | b"http2-settings"
    )
}

/// Fields that may stand behind a body: none that frames, routes or authenticates the message (RFC 9110, 6.5.1). Names
/// are in lower case.
pub(super) fn may_trail(name: &[u8]) -> bool {
    !(is_connection_field(name)
        || matches!(
            name,
            b"content-length"
                | b"host"
                | b"te"
                | b"trailer"
                | b"authorization"
                | b"cookie"
                | b"set-cookie"
                | b"content-encoding"
                | b"content-type"
                | b"content-range"
                | b"cache-control"
                | b"expect"
                | b"max-forwards"
                | b"proxy-authenticate"
                | b"proxy-authorization"
                | b"www-authenticate"
        ))
}

/// Gives each field that may trail to `put`, its name in lower case. `lines` are all lines of a trailer section without
/// the empty one.
///
/// # Errors
/// [`Refused`] if they are not fields; then none was given.
pub(super) fn read(lines: &[u8], mut put: impl FnMut(&[u8], &[u8])) -> Result<(), Refused> {
    const MAX: usize = 64;
    const GARBLED: Refused = Refused {
        status: 400,
        reason: "the trailers are not fields",
    };
    let mut section = Vec::with_capacity(lines.len() + 2);
    section.extend_from_slice(lines);
    section.extend_from_slice(b"\r\n");
    let mut fields = [httparse::EMPTY_HEADER; MAX];
    match httparse::parse_headers(&section, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) if length == section.len() => {
            for field in fields {
                let name = field.name.as_bytes().to_ascii_lowercase();
                if may_trail(&name) {
                    put(&name, field.value.trim_ascii());
                }
            }
            Ok(())
        }
        _ => Err(GARBLED),
    }
}

/// Appends a line.
pub(super) fn push(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.extend_from_slice(name);
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value.trim_ascii());
    lines.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    fn fields(lines: &[u8]) -> Option<Fields> {
        let mut fields = Fields::new();
        let put = |name: &[u8], value: &[u8]| fields.push((name.to_vec(), value.to_vec()));
        read(lines, put).ok().map(|()| fields)
    }

    #[test]
    fn trailers_pass_unless_they_would_change_the_message() {
        let lines = b"Grpc-Status: 0\r\ngrpc-message:\r\nContent-Length: 5\r\nHost: x\r\nTransfer-Encoding: chunked\r\n";
        let wanted = [(&b"grpc-status"[..], &b"0"[..]), (b"grpc-message", b"")];
        let wanted = wanted.map(|(name, value)| (name.to_vec(), value.to_vec()));
        assert_eq!(fields(lines).unwrap(), wanted);
        for wrong in [
            &b"no colon\r\n"[..],
            b"a: b\r\n\r\nGET / HTTP/1.1\r\n",
            b": x\r\n",
            b"a b: c\r\n",
        ] {
            assert!(fields(wrong).is_none(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_trailers_are_read_or_refused(lines in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(read) = fields(&lines) {
                let mut written = Vec::new();
                read.iter().for_each(|(name, value)| push(&mut written, name, value));
                prop_assert_eq!(fields(&written), Some(read));
            }
        }
    }
}
