//! Compression of answers on their way to clients, where the app has asked for it by `http_options.compress`.
//!
//! Which codings, and in which order: <https://fly.io/docs/reference/content-encoding/>. Which answers may be changed
//! on their way: RFC 9110, 8.4 and 12.5.3, RFC 9111, 5.2.2.6.

mod encoder;
mod negotiate;

pub(crate) use encoder::Encoder;

/// Shorter bodies grow rather than shrink, headers counted.
const LENGTH_LEAST: u64 = 512;

/// A content coding, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coding {
    Zstd,
    Brotli,
    Gzip,
    Deflate,
}

impl Coding {
    const ALL: [Coding; 4] = [Coding::Zstd, Coding::Brotli, Coding::Gzip, Coding::Deflate];

    /// As in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Nothing: it is passed on as it is.
    #[default]
    Off,
    /// This client gets it as it is, another one might not: `Vary` has to say so.
    Identity,
    /// The body is coded, its length unknown and its tag weak.
    With(Coding),
}

impl Compression {
    /// Decides by the client's `Accept-Encoding` lines and the answer's status and fields.
    pub(crate) fn choose<'a, 'b>(
        accepted: impl Iterator<Item = &'a [u8]>,
        status: u16,
        fields: impl Iterator<Item = (&'b [u8], &'b [u8])>,
    ) -> Compression {
        if matches!(status, 0..=199 | 204 | 205 | 206 | 304) || !may_be_coded(fields) {
            return Compression::Off;
        }
        match negotiate::best(accepted) {
            Some(coding) => Compression::With(coding),
            None => Compression::Identity,
        }
    }

    pub(crate) fn coding(self) -> Option<Coding> {
        match self {
            Compression::With(coding) => Some(coding),
            Compression::Off | Compression::Identity => None,
        }
    }
}

/// A tag that also holds for the coded form (RFC 9110, 8.8.1).
pub(crate) fn weak_etag(etag: &[u8]) -> Vec<u8> {
    let mut weak = Vec::with_capacity(etag.len() + 2);
    if !etag.starts_with(b"W/") {
        weak.extend_from_slice(b"W/");
    }
    weak.extend_from_slice(etag);
    weak
}

fn may_be_coded<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> bool {
    let mut compressible = false;
    for (name, value) in fields {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-type") {
            compressible = is_compressible(value);
        } else if is("content-length") {
            let length: Option<u64> = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            if length.is_none_or(|length| length < LENGTH_LEAST) {
                return false;
            }
        } else if is("cache-control") {
            let directives = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            if directives
                .into_iter()
                .any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
            {
                return false;
            }
        } else if is("content-encoding")
            || is("content-range")
            || is("content-md5")
            || is("content-digest")
            || is("repr-digest")
            || is("digest")
        {
            // Coded already, a part, or sealed. `Content-Encoding: none` is how an app says no.
            return false;
        }
    }
    compressible
}

/// Event streams are not: their events must not wait for each other.
fn is_compressible(media_type: &[u8]) -> bool {
    let essence = media_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase();
    let Ok(essence) = std::str::from_utf8(&essence) else {
        return false;
    };
    match essence.split_once('/') {
        Some(("text", subtype)) => subtype != "event-stream",
        Some(("application", subtype)) => {
            matches!(
                subtype,
                "json"
                    | "javascript"
                    | "x-javascript"
                    | "ecmascript"
                    | "xml"
                    | "wasm"
                    | "graphql"
                    | "ndjson"
                    | "x-ndjson"
                    | "rtf"
                    | "vnd.ms-fontobject"
                    | "x-sh"
                    | "toml"
                    | "yaml"
                    | "x-yaml"
                    | "sql"
            ) || subtype.ends_with("+json")
                || subtype.ends_with("+xml")
        }
        Some(("image", subtype)) => {
            matches!(subtype, "svg+xml" | "bmp" | "x-icon" | "vnd.microsoft.icon")
        }
        Some(("font", subtype)) => matches!(subtype, "ttf" | "otf" | "collection"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
