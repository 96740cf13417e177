use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use crate::HttpError;
use crate::client::authority;

/// A connection whose HTTP exchange ended in another protocol, such as a WebSocket; reads and writes raw bytes.
pub type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// The head of an answer, and its body to be read.
#[derive(Debug)]
pub struct Response {
    answer: http::Response<Incoming>,
    uri: Uri,
    body_timeout: Option<Duration>,
}

impl Response {
    pub(crate) fn new(
        answer: http::Response<Incoming>,
        uri: &Uri,
        body_timeout: Option<Duration>,
    ) -> Self {
        Self {
            answer,
            uri: uri.clone(),
            body_timeout,
        }
    }

    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.answer.headers()
    }

    /// A header's value, if it is there once or more and is text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.answer.headers().get(name)?.to_str().ok()
    }

    /// Where the answer came from after redirects.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    pub fn content_length(&self) -> Option<u64> {
        self.header(http::header::CONTENT_LENGTH)?.parse().ok()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`HttpError::ReadBody`] if the connection broke before the end the sender announced, and
    /// [`HttpError::BodyTimeout`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let frame = self.answer.body_mut().frame();
            let frame = match self.body_timeout {
                None => frame.await,
                Some(limit) => tokio::time::timeout(limit, frame).await.map_err(|_| {
                    HttpError::BodyTimeout {
                        authority: authority(&self.uri),
                        limit,
                    }
                })?,
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(source)) => {
                    return Err(HttpError::ReadBody {
                        authority: authority(&self.uri),
                        source: Box::new(source),
                    });
                }
            }
        }
    }

    /// The whole body, if it has at most `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, HttpError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if whole.len() + piece.len() > limit {
                return Err(HttpError::TooLong {
                    authority: authority(&self.uri),
                    limit,
                });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The body as JSON, if it has at most `limit` bytes.
    pub async fn json<T: DeserializeOwned>(self, limit: usize) -> Result<T, HttpError> {
        let authority = authority(&self.uri);
        let bytes = self.bytes(limit).await?;
        serde_json::from_slice(&bytes).map_err(|source| HttpError::Decode { authority, source })
    }

    /// The connection itself, after an answer with status 101.
    pub async fn upgrade(self) -> Result<Upgraded, HttpError> {
        let authority = authority(&self.uri);
        let status = self.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(HttpError::NotUpgraded { authority, status });
        }
        match hyper::upgrade::on(self.answer).await {
            Ok(connection) => Ok(TokioIo::new(connection)),
            Err(source) => Err(HttpError::ReadBody {
                authority,
                source: Box::new(source),
            }),
        }
    }
}
