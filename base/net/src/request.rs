use std::time::Duration;

use base64::Engine;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode, Uri};
use mayfly_types::Secret;
use serde::Serialize;

use crate::client::authority;
use crate::{Body, HttpClient, HttpError, Response};

/// One request: completed by chained calls, done by [`Request::send`].
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    head: Head,
    url: String,
    body: Body,
    body_timeout: Option<Duration>,
    redirects: usize,
    broken: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What is the same for every step of a chain of redirects, but for the headers left behind.
struct Head {
    client: HttpClient,
    method: Method,
    headers: HeaderMap,
    timeout: Option<Duration>,
}

impl Request {
    pub(crate) fn new(client: HttpClient, method: Method, url: String) -> Self {
        let config = client.config();
        let (head_timeout, body_timeout) = (config.head_timeout, config.body_timeout);
        Self {
            head: Head {
                client,
                method,
                headers: HeaderMap::new(),
                timeout: Some(head_timeout),
            },
            url,
            body: Body::empty(),
            body_timeout: Some(body_timeout),
            redirects: 0,
            broken: None,
        }
    }

    /// Sets a header; a value that cannot be one is reported by sending.
    pub fn header(mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        match HeaderValue::from_bytes(value.as_ref()) {
            Ok(value) => {
                self.head.headers.insert(name, value);
            }
            Err(error) => self.broken = Some(Box::new(error)),
        }
        self
    }

    pub fn bearer(self, token: &Secret) -> Self {
        let value = format!("Bearer {}", token.reveal());
        self.authorization(&value)
    }

    pub fn basic(self, username: &str, password: &Secret) -> Self {
        let pair = format!("{username}:{}", password.reveal());
        let value = format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        );
        self.authorization(&value)
    }

    /// Sets the whole `authorization` header, for tokens whose scheme is part of them.
    pub fn authorization(mut self, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.head.headers.insert(AUTHORIZATION, value);
            }
            Err(error) => self.broken = Some(Box::new(error)),
        }
        self
    }

    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.body = Body::bytes(bytes),
            Err(error) => self.broken = Some(Box::new(error)),
        }
        self.header(CONTENT_TYPE, "application/json")
    }

    /// How long to wait for the head of the answer; `None` waits as long as the connection lives.
    pub fn head_timeout(mut self, limit: Option<Duration>) -> Self {
        self.head.timeout = limit;
        self
    }

    /// How long to wait between two pieces of the answer's body; `None` for streams that may be silent.
    pub fn body_timeout(mut self, limit: Option<Duration>) -> Self {
        self.body_timeout = limit;
        self
    }

    /// Follows up to `most` redirects of a GET or HEAD. `authorization` stays behind when scheme, host or port change.
    pub fn follow_redirects(mut self, most: usize) -> Self {
        self.redirects = most;
        self
    }

    /// Sends the request and returns once the head of the answer is there, whatever its status.
    ///
    /// # Errors
    /// [`HttpError`]; nothing was necessarily received by the other side, and nothing necessarily not.
    ///
    /// # Cancellation
    /// Dropping the future closes the connection.
    pub async fn send(self) -> Result<Response, HttpError> {
        let Request {
            mut head,
            url,
            mut body,
            body_timeout,
            redirects,
            broken,
        } = self;
        if let Some(source) = broken {
            return Err(HttpError::InvalidRequest { url, source });
        }
        let mut uri = checked_uri(&url).ok_or(HttpError::InvalidUrl { url })?;
        let mut followed = 0;
        loop {
            let answer = head.send(&uri, body).await?;
            let followable = matches!(head.method, Method::GET | Method::HEAD);
            if redirects == 0 || !followable || !is_redirect(answer.status()) {
                return Ok(Response::new(answer, &uri, body_timeout));
            }
            if followed == redirects {
                return Err(HttpError::TooManyRedirects {
                    authority: authority(&uri),
                    most: redirects,
                });
            }
            followed += 1;
            let next = next_uri(&uri, answer.headers())?;
            if (next.scheme(), next.authority()) != (uri.scheme(), uri.authority()) {
                head.headers.remove(AUTHORIZATION);
                head.headers.remove(HOST);
            }
            uri = next;
            body = Body::empty();
        }
    }
}

impl Head {
    async fn send(
        &self,
        uri: &Uri,
        body: Body,
    ) -> Result<http::Response<hyper::body::Incoming>, HttpError> {
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.headers.clone();
        let agent = &self.client.config().user_agent;
        if let Ok(agent) = HeaderValue::from_str(agent) {
            request
                .headers_mut()
                .entry(http::header::USER_AGENT)
                .or_insert(agent);
        }
        let exchange = self.client.exchange(request);
        match self.timeout {
            None => exchange.await,
            Some(limit) => {
                tokio::time::timeout(limit, exchange)
                    .await
                    .map_err(|_| HttpError::HeadTimeout {
                        authority: authority(uri),
                        limit,
                    })?
            }
        }
    }
}

fn checked_uri(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    (known && uri.authority().is_some_and(|host| !host.host().is_empty())).then_some(uri)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads: an address of its own, or a path on the same host. A redirect from https to http is refused.
fn next_uri(from: &Uri, headers: &HeaderMap) -> Result<Uri, HttpError> {
    let location = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let bad = || HttpError::BadRedirect {
        authority: authority(from),
        location: location.split('?').next().unwrap_or_default().to_owned(),
    };
    let next = if location.starts_with('/') && !location.starts_with("//") {
        let (Some(scheme), Some(host)) = (from.scheme_str(), from.authority()) else {
            return Err(bad());
        };
        checked_uri(&format!("{scheme}://{host}{location}"))
    } else {
        checked_uri(location)
    };
    let next = next.ok_or_else(bad)?;
    if from.scheme_str() == Some("https") && next.scheme_str() == Some("http") {
        return Err(bad());
    }
    Ok(next)
}
