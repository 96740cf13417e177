use mayfly_net::{HeaderName, HttpClient, Method, Request};
use mayfly_types::{Secret, Timestamp};

use crate::signature::{Asked, sign};

/// SHA-256 of no body at all.
pub const NO_CONTENT: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Where a bucket is, and how to enter.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// `http://` or `https://` and the storage's host, without a path.
    pub endpoint: String,
    pub region: String,
    pub name: String,
    /// `None` asks without a signature, as for buckets that everybody may read.
    pub key: Option<AccessKey>,
}

/// An access key of the storage.
#[derive(Clone, Debug)]
pub struct AccessKey {
    pub id: String,
    pub secret: Secret,
}

impl Bucket {
    /// A request for the object whose key has these parts, between which slashes are put. `content` is the SHA-256 of
    /// the body that will be added, in hexadecimal digits.
    pub fn request<'a>(
        &'a self,
        client: &HttpClient,
        method: Method,
        key: impl Iterator<Item = &'a str>,
        content: &str,
        now: Timestamp,
    ) -> Request {
        self.request_with(client, method, key, &[], content, now)
    }

    /// The same for a key and parameters, in whatever order; a key of no parts is the bucket itself.
    pub fn request_with<'a>(
        &'a self,
        client: &HttpClient,
        method: Method,
        key: impl Iterator<Item = &'a str>,
        query: &[(&str, &str)],
        content: &str,
        now: Timestamp,
    ) -> Request {
        let path: String = std::iter::once(self.name.as_str())
            .chain(key)
            .map(|part| format!("/{}", encoded(part)))
            .collect();
        let query = encoded_query(query);
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{query}", self.endpoint);
        let mut request = client.request(method.clone(), url);
        if let Some(key) = &self.key {
            let host = self
                .endpoint
                .split_once("://")
                .map_or(self.endpoint.as_str(), |(_, host)| host);
            let asked = Asked {
                method: &method,
                host,
                path: &path,
                query: &query,
                content,
            };
            let signed = sign(key, &self.region, asked, now);
            for (name, value) in signed.fields {
                request = request.header(HeaderName::from_static(name), value);
            }
            request = request.authorization(&signed.authorization);
        }
        request
    }
}

/// In the order that signatures want.
fn encoded_query(query: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
    let mut pairs: Vec<String> = query.iter().map(pair).collect();
    pairs.sort();
    pairs.join("&")
}

/// Everything but what RFC 3986 calls unreserved, as signatures want it.
fn encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_signatures_want_it() {
        assert_eq!(encoded("a b+ü~.css"), "a%20b%2B%C3%BC~.css");
        let query = [("uploadId", "a/b"), ("partNumber", "1")];
        assert_eq!(encoded_query(&query), "partNumber=1&uploadId=a%2Fb");
    }
}
