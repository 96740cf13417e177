use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, Error};
use mayfly_net::{Body, HttpClient, header};
use mayfly_runtime::Clock;
use mayfly_types::Timestamp;

use super::AcmeError;

/// More than any chain or order is long.
const ANSWER_MAX: usize = 1 << 20;

/// How long a limit lasts that the authority does not say the end of.
const LIMIT_LASTS: Duration = Duration::from_secs(3600);

/// Carries the client's requests, and remembers until when the authority asked to be left alone.
#[derive(Clone)]
pub(super) struct Transport {
    client: HttpClient,
    clock: Arc<dyn Clock>,
    retry_at: Arc<Mutex<Option<Timestamp>>>,
}

impl Transport {
    pub(super) fn new(client: HttpClient, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            clock,
            retry_at: Arc::default(),
        }
    }

    pub(super) fn boxed(&self) -> Box<dyn instant_acme::HttpClient> {
        Box::new(self.clone())
    }

    fn retry_at(&self) -> std::sync::MutexGuard<'_, Option<Timestamp>> {
        self.retry_at.lock().expect("no holder of this lock panics")
    }

    async fn carry(
        self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, Error> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Error::Other(mayfly_runtime::report(error).into())
        };
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| failed(&error))?
            .to_bytes();
        let mut outgoing = self.client.request(parts.method, parts.uri.to_string());
        for (name, value) in &parts.headers {
            // Set by the client itself.
            if name != header::USER_AGENT && name != header::CONTENT_LENGTH {
                outgoing = outgoing.header(name.clone(), value);
            }
        }
        let answer = outgoing
            .body(Body::bytes(body))
            .send()
            .await
            .map_err(|error| failed(&error))?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let wait = answer
            .header(header::RETRY_AFTER)
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs);
        *self.retry_at() = wait.map(|wait| self.clock.now() + wait);
        let bytes = answer
            .bytes(ANSWER_MAX)
            .await
            .map_err(|error| failed(&error))?;
        let (parts, ()) = response
            .body(())
            .expect("a status and headers make an answer")
            .into_parts();
        Ok(BytesResponse {
            parts,
            body: Box::new(bytes),
        })
    }

    /// What an error of the client means for us.
    pub(super) fn explain(&self, error: Error) -> AcmeError {
        let problem = match error {
            Error::Api(problem) => problem,
            other => return AcmeError::Unavailable(mayfly_runtime::report(&other)),
        };
        let named = problem.r#type.clone().unwrap_or_default();
        let name = named.rsplit(':').next().unwrap_or_default();
        let detail = problem
            .detail
            .clone()
            .unwrap_or_else(|| problem.to_string());
        match (name, problem.status) {
            ("rateLimited", _) | (_, Some(429)) => AcmeError::RateLimited {
                until: self.retry_at().unwrap_or(self.clock.now() + LIMIT_LASTS),
                detail,
            },
            ("accountDoesNotExist", _) | (_, Some(404)) => AcmeError::Gone { detail },
            ("badNonce" | "serverInternal", _) | (_, Some(500..)) => AcmeError::Unavailable(detail),
            (name, _) => AcmeError::Refused {
                problem: name.to_owned(),
                detail,
            },
        }
    }
}

impl instant_acme::HttpClient for Transport {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().carry(request))
    }
}
