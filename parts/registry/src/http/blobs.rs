use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode, header};
use mayfly_net::Shortcut;
use mayfly_types::Digest;

use super::Desk;
use super::answer::{CONTENT_DIGEST, empty, set};
use crate::RegistryError;
use crate::name::Repository;

impl Desk {
    pub(super) async fn blob(
        &self,
        parts: &Parts,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Response, RegistryError> {
        let wanted = repository.clone();
        match parts.method {
            Method::GET | Method::HEAD => {
                let range = parts.headers.get(header::RANGE);
                let range = range.and_then(|value| value.to_str().ok());
                let range = range.map(str::to_owned);
                let reads = parts.method == Method::GET;
                let (part, opened) = self
                    .registry
                    .with(move |shared| {
                        let length = shared.find_blob(&wanted, digest)?;
                        let part = Part::of(range.as_deref(), length)?;
                        let open = || shared.open_content(digest, part.from, part.bytes);
                        let opened = reads.then(open).transpose();
                        let opened = opened.map_err(RegistryError::disk("read a blob"))?;
                        Ok((part, opened))
                    })
                    .await?;
                let mut response = empty(part.status());
                set(&mut response, CONTENT_DIGEST, digest.to_string());
                set(&mut response, header::ETAG, format!("\"{digest}\""));
                set(&mut response, header::ACCEPT_RANGES, "bytes");
                set(
                    &mut response,
                    header::CONTENT_TYPE,
                    "application/octet-stream",
                );
                set(
                    &mut response,
                    header::CONTENT_LENGTH,
                    part.bytes.to_string(),
                );
                if part.whole != part.bytes {
                    set(&mut response, header::CONTENT_RANGE, part.content_range());
                }
                if let Some(opened) = opened {
                    let shortcut = parts.extensions.get::<Shortcut>();
                    let pieces = opened.read(part.from, part.bytes, shortcut).await;
                    let pieces = pieces.map_err(RegistryError::disk("read a blob"))?;
                    *response.body_mut() = Body::from_stream(pieces);
                }
                Ok(response)
            }
            Method::DELETE => {
                let needed = self.door.access.needed().await?;
                self.registry
                    .with(move |shared| shared.delete_blob(&wanted, digest, &needed.images))
                    .await?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            _ => Err(RegistryError::Method(parts.method.clone())),
        }
    }
}

/// What of a blob is sent.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    from: u64,
    bytes: u64,
    whole: u64,
}

impl Part {
    /// Reads a `Range` header; what is no single range of bytes asks for everything, RFC 9110, section 14.2.
    fn of(range: Option<&str>, whole: u64) -> Result<Part, RegistryError> {
        let all = Part {
            from: 0,
            bytes: whole,
            whole,
        };
        let Some((from, to)) = range
            .and_then(|text| text.strip_prefix("bytes="))
            .and_then(|text| text.split_once('-'))
        else {
            return Ok(all);
        };
        let outside = Err(RegistryError::Range { length: whole });
        let (from, to) = match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
            (Ok(from), Ok(to)) => (from, to.min(whole.saturating_sub(1))),
            (Ok(from), Err(_)) if to.trim().is_empty() => (from, whole.saturating_sub(1)),
            (Err(_), Ok(0)) if from.trim().is_empty() => return outside,
            (Err(_), Ok(last)) if from.trim().is_empty() => {
                (whole.saturating_sub(last), whole.saturating_sub(1))
            }
            _ => return Ok(all),
        };
        if from >= whole || from > to {
            return outside;
        }
        Ok(Part {
            from,
            bytes: to - from + 1,
            whole,
        })
    }

    fn status(&self) -> StatusCode {
        if self.bytes == self.whole {
            StatusCode::OK
        } else {
            StatusCode::PARTIAL_CONTENT
        }
    }

    fn content_range(&self) -> String {
        let last = self.from + self.bytes - 1;
        format!("bytes {}-{last}/{}", self.from, self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        for (range, expected) in [
            (None, Some((0, 10))),
            (Some("bytes=2-4"), Some((2, 3))),
            (Some("bytes=2-"), Some((2, 8))),
            (Some("bytes=2-99"), Some((2, 8))),
            (Some("bytes=-3"), Some((7, 3))),
            (Some("bytes=-99"), Some((0, 10))),
            (Some("bytes=0-1,4-5"), Some((0, 10))),
            (Some("pages=1-2"), Some((0, 10))),
            (Some("bytes=10-"), None),
            (Some("bytes=4-2"), None),
            (Some("bytes=-0"), None),
        ] {
            let part = Part::of(range, 10).ok().map(|part| (part.from, part.bytes));
            assert_eq!(part, expected, "{range:?}");
        }
    }
}
