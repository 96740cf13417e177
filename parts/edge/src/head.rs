//! Message heads of HTTP/1: what they say about framing, and what makes them unacceptable.
//!
//! Rules: RFC 9112 (messages) and RFC 9110 section 7.6.1 (hop-by-hop fields).

use std::ops::Range;

/// The longest head, request or response, in bytes.
pub(crate) const HEAD_MAX: usize = 64 * 1024;
/// The most header lines of a head.
const HEADERS_MAX: usize = 128;

/// How the bytes after a head are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    /// Responses only: everything until the connection ends.
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// One header line as positions in the head's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// A request head that only one reading fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestHead {
    /// Bytes up to and including the empty line.
    pub(crate) length: usize,
    pub(crate) method: String,
    /// In origin form, beginning with `/`, or `*`.
    pub(crate) target: String,
    pub(crate) version: Version,
    /// Lower case, without port and trailing dot.
    pub(crate) host: String,
    /// As it is passed on in the `Host` field.
    pub(crate) authority: String,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    /// Names a protocol the client wants to switch to.
    pub(crate) upgrade: bool,
    pub(crate) wants_json: bool,
    pub(crate) fields: Vec<Field>,
    /// Lower-case names that `Connection` lists.
    pub(crate) connection_options: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) length: usize,
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) fields: Vec<Field>,
    pub(crate) connection_options: Vec<String>,
}

/// Why a head is refused, with the status the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

const fn bad(reason: &'static str) -> Refused {
    Refused {
        status: 400,
        reason,
    }
}

impl RequestHead {
    /// Reads a head from the beginning of `bytes`; `None` if it is not complete yet.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<RequestHead>, Refused> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return incomplete(bytes),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refused {
                    status: 431,
                    reason: "too many header lines",
                });
            }
            Err(_) => return Err(bad("the request head is not HTTP/1")),
        };
        if length > HEAD_MAX {
            return Err(Refused {
                status: 431,
                reason: "the request head is too long",
            });
        }
        refuse_bare_line_feeds(&bytes[..length])?;
        let version = match request.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        let method = request.method.unwrap_or_default().to_owned();
        let raw_target = request.path.unwrap_or_default();
        if method == "CONNECT" {
            return Err(Refused {
                status: 405,
                reason: "CONNECT is not served here",
            });
        }
        let fields = locate(bytes, request.headers);
        let common = Common::read(bytes, &fields, version)?;
        let framing = match (common.chunked, common.length) {
            (true, _) if version == Version::Http10 => {
                return Err(bad("Transfer-Encoding needs HTTP/1.1"));
            }
            (true, Some(_)) => {
                return Err(bad(
                    "Content-Length and Transfer-Encoding exclude each other",
                ));
            }
            (true, None) => Framing::Chunked,
            (false, Some(0)) | (false, None) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        let (target, authority) = split_target(raw_target, common.host)?;
        let host = host_name(&authority).ok_or(bad("the Host field is not a host name"))?;
        Ok(Some(RequestHead {
            length,
            method,
            target,
            version,
            host,
            authority,
            framing,
            keep_alive: common.keep_alive,
            upgrade: version == Version::Http11 && common.upgrade,
            wants_json: common.wants_json,
            fields,
            connection_options: common.connection_options,
        }))
    }
}

impl ResponseHead {
    /// Reads the head of the answer to a request with `method`; `None` if it is not complete yet.
    pub(crate) fn parse(bytes: &[u8], method: &str) -> Result<Option<ResponseHead>, Refused> {
        const GARBLED: Refused = Refused {
            status: 502,
            reason: "the machine's answer is not HTTP/1",
        };
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
            _ => return Err(GARBLED),
        };
        let version = if response.version == Some(0) {
            Version::Http10
        } else {
            Version::Http11
        };
        let status = response.code.unwrap_or_default();
        if !(100..=599).contains(&status) {
            return Err(GARBLED);
        }
        let fields = locate(bytes, response.headers);
        let common = Common::read(bytes, &fields, version).map_err(|_| GARBLED)?;
        let bodiless =
            method == "HEAD" || (100..200).contains(&status) || matches!(status, 204 | 304);
        let framing = match (common.chunked, common.length) {
            (true, Some(_)) => return Err(GARBLED),
            _ if bodiless => Framing::None,
            (true, None) => Framing::Chunked,
            (false, Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        };
        Ok(Some(ResponseHead {
            length,
            status,
            reason: response.reason.unwrap_or_default().to_owned(),
            framing,
            keep_alive: common.keep_alive && framing != Framing::UntilClose,
            fields,
            connection_options: common.connection_options,
        }))
    }
}

/// What both kinds of head say about framing and the connection.
struct Common<'a> {
    host: Option<&'a str>,
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
    upgrade: bool,
    wants_json: bool,
    connection_options: Vec<String>,
}

impl<'a> Common<'a> {
    fn read(bytes: &'a [u8], fields: &[Field], version: Version) -> Result<Common<'a>, Refused> {
        let mut common = Common {
            host: None,
            length: None,
            chunked: false,
            keep_alive: version == Version::Http11,
            upgrade: false,
            wants_json: false,
            connection_options: Vec::new(),
        };
        let mut names_protocol = false;
        for field in fields {
            let name = &bytes[field.name.clone()];
            let value = &bytes[field.value.clone()];
            if name.eq_ignore_ascii_case(b"content-length") {
                if common.length.is_some() {
                    return Err(bad("Content-Length is given more than once"));
                }
                common.length = Some(decimal(value).ok_or(bad("Content-Length is not a number"))?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if common.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refused {
                        status: 501,
                        reason: "the only transfer coding served is chunked",
                    });
                }
                common.chunked = true;
            } else if name.eq_ignore_ascii_case(b"host") {
                if common.host.is_some() {
                    return Err(bad("Host is given more than once"));
                }
                common.host = Some(
                    std::str::from_utf8(value).map_err(|_| bad("the Host field is not text"))?,
                );
            } else if name.eq_ignore_ascii_case(b"connection") {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    let option = String::from_utf8_lossy(option).to_ascii_lowercase();
                    common.connection_options.push(option);
                }
            } else if name.eq_ignore_ascii_case(b"upgrade") {
                names_protocol = true;
            } else if name.eq_ignore_ascii_case(b"accept") {
                common.wants_json = !contains(value, b"text/html");
            }
        }
        let option = |wanted: &str| {
            common
                .connection_options
                .iter()
                .any(|option| option == wanted)
        };
        let (close, keep, upgrade) = (option("close"), option("keep-alive"), option("upgrade"));
        common.keep_alive = !close && (common.keep_alive || keep);
        common.upgrade = upgrade && names_protocol;
        Ok(common)
    }
}

fn incomplete(bytes: &[u8]) -> Result<Option<RequestHead>, Refused> {
    if bytes.len() >= HEAD_MAX {
        return Err(Refused {
            status: 431,
            reason: "the request head is too long",
        });
    }
    Ok(None)
}

/// A line feed alone ends a line for some parsers and not for others.
fn refuse_bare_line_feeds(head: &[u8]) -> Result<(), Refused> {
    let mut previous = 0;
    for byte in head {
        if *byte == b'\n' && previous != b'\r' {
            return Err(bad("lines must end with CR LF"));
        }
        previous = *byte;
    }
    Ok(())
}

fn locate(bytes: &[u8], headers: &[httparse::Header<'_>]) -> Vec<Field> {
    let range = |part: &[u8]| {
        let start = part.as_ptr().addr() - bytes.as_ptr().addr();
        start..start + part.len()
    };
    headers
        .iter()
        .map(|header| Field {
            name: range(header.name.as_bytes()),
            value: range(header.value),
        })
        .collect()
}

/// Digits only: a sign, a space or a list would be read differently elsewhere.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window.eq_ignore_ascii_case(needle))
}

/// Origin form of the target and the authority it is for; an absolute target's authority wins (RFC 9112, 3.2.2).
fn split_target(target: &str, host: Option<&str>) -> Result<(String, String), Refused> {
    if target.starts_with('/') || target == "*" {
        let host = host.ok_or(bad("the Host field is missing"))?;
        return Ok((target.to_owned(), host.to_owned()));
    }
    let rest = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"))
        .ok_or(bad("the request target must begin with /"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    Ok((path, authority.to_owned()))
}

fn host_name(authority: &str) -> Option<String> {
    let host = match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        Some(_) if !authority.starts_with('[') => return None,
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':')
    };
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(allowed))
        .then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Option<RequestHead>, Refused> {
        RequestHead::parse(text.as_bytes())
    }

    #[test]
    fn framing_and_host_are_read() {
        let head = request(
            "POST /a?b HTTP/1.1\r\nHost: Web.Example.:8080\r\nContent-Length: 5\r\n\r\nhello",
        )
        .unwrap()
        .unwrap();
        assert_eq!(
            (head.host.as_str(), head.framing, head.keep_alive),
            ("web.example", Framing::Length(5), true)
        );
        assert_eq!(
            (head.target.as_str(), head.authority.as_str()),
            ("/a?b", "Web.Example.:8080")
        );
        let head = request("GET http://other.example/x HTTP/1.1\r\nHost: web\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(
            (head.host.as_str(), head.target.as_str()),
            ("other.example", "/x")
        );
        let head = request("GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\n")
            .unwrap()
            .unwrap();
        assert!(head.keep_alive);
        assert_eq!(request("GET / HTTP/1.1\r\nHost: w"), Ok(None));
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: web\r\n{lines}\r\n");
        for (lines, status) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", 400),
            ("Content-Length: 1, 1\r\n", 400),
            ("Content-Length: +1\r\n", 400),
            ("Content-Length: 0x1\r\n", 400),
            ("Content-Length: \r\n", 400),
            ("Content-Length : 1\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                501,
            ),
            ("Transfer-Encoding: \x0bchunked\r\n", 400),
            ("X: a\r\n folded\r\n", 400),
            ("X: a\nY: b\r\n", 400),
            ("X: a\rb\r\n", 400),
            ("X: a\0b\r\n", 400),
            ("Host: other\r\n", 400),
            ("Bad Name: x\r\n", 400),
        ] {
            let refused = request(&with(lines)).expect_err(lines);
            assert_eq!(refused.status, status, "{lines:?}: {}", refused.reason);
        }
        assert!(request("GET / HTTP/1.1\r\n\r\n").is_err(), "no host");
        assert!(request("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").is_err());
        assert!(request("GET / HTTP/2.0\r\nHost: a\r\n\r\n").is_err());
        assert_eq!(
            request("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                .unwrap_err()
                .status,
            400
        );
        let long = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "y".repeat(HEAD_MAX)
        );
        assert_eq!(request(&long).unwrap_err().status, 431);
    }

    #[test]
    fn response_framing_follows_method_and_status() {
        let framing = |text: &str, method: &str| {
            ResponseHead::parse(text.as_bytes(), method)
                .unwrap()
                .unwrap()
                .framing
        };
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD"),
            Framing::None
        );
        assert_eq!(
            framing("HTTP/1.1 204 No Content\r\n\r\n", "GET"),
            Framing::None
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\n\r\n", "GET"),
            Framing::UntilClose
        );
        assert_eq!(
            framing(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "GET"
            ),
            Framing::Chunked
        );
        for wrong in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/1.1 999 X\r\n\r\n",
        ] {
            assert_eq!(
                ResponseHead::parse(wrong.as_bytes(), "GET")
                    .unwrap_err()
                    .status,
                502,
                "{wrong:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = RequestHead::parse(&bytes);
            let _ = ResponseHead::parse(&bytes, "GET");
        }

        #[test]
        fn cutting_a_head_never_changes_its_meaning(cut in 0usize..70) {
            let text = b"POST /x HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n";
            let parsed = RequestHead::parse(&text[..cut.min(text.len())]).unwrap();
            proptest::prop_assert_eq!(parsed.is_some(), cut >= text.len());
        }
    }
}
