use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mayfly_tls::{Trust, client_config};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::{HttpError, authorities};

/// Asks programs how they are: one connection per question, no redirects, and nothing runs beside the caller's task.
///
/// A question costs a connection and, with TLS, a handshake; the certificate authorities are read once, by the first
/// question that verifies a certificate.
pub struct Prober {
    user_agent: HeaderValue,
    verifying: OnceLock<Result<TlsConnector, String>>,
    careless: TlsConnector,
}

/// One question over HTTP/1.1.
#[derive(Clone, Copy, Debug)]
pub struct ProbeRequest<'a> {
    pub method: &'a str,
    /// With its query; begins with `/`.
    pub path: &'a str,
    /// `host` and `user-agent` among them win over our own.
    pub headers: &'a [(String, String)],
    pub tls: Option<ProbeTls<'a>>,
    /// Bytes of the answer's body that are wanted; the rest is not read.
    pub body_limit: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct ProbeTls<'a> {
    pub skip_verify: bool,
    /// Whose certificate is expected; the address itself if `None`.
    pub server_name: Option<&'a str>,
}

/// What came back, as far as it was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub body: Bytes,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nothing accepts connections there; nothing was sent.
    #[error("connect to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("load certificate authorities: {0}")]
    Authorities(String),
    #[error("`{0}` is not a server name")]
    ServerName(String),
    #[error("TLS handshake with {address}")]
    Handshake {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("build the request")]
    Request(#[source] http::Error),
    #[error("no answer over HTTP from {address}")]
    Exchange {
        address: SocketAddr,
        #[source]
        source: hyper::Error,
    },
    #[error("no answer from {address} within {limit:?}")]
    Timeout {
        address: SocketAddr,
        limit: Duration,
    },
}

impl Prober {
    /// # Panics
    /// If `user_agent` is no header value.
    pub fn new(user_agent: &'static str) -> Self {
        Prober {
            user_agent: HeaderValue::from_static(user_agent),
            verifying: OnceLock::new(),
            careless: TlsConnector::from(Arc::new(client_config(Trust::Anyone))),
        }
    }

    /// Connects and hangs up.
    ///
    /// # Errors
    /// [`ProbeError::Connect`] and [`ProbeError::Timeout`].
    pub async fn connects(&self, address: SocketAddr, limit: Duration) -> Result<(), ProbeError> {
        connect(address, limit, Instant::now() + limit).await?;
        Ok(())
    }

    /// Sends one request and reads the beginning of its answer, all within `limit`. A body that does not end in time
    /// is no failure: what was read of it is returned.
    ///
    /// # Errors
    /// What kept the answer's head from coming.
    ///
    /// # Cancellation
    /// Closes the connection.
    pub async fn ask(
        &self,
        address: SocketAddr,
        request: ProbeRequest<'_>,
        limit: Duration,
    ) -> Result<ProbeAnswer, ProbeError> {
        let deadline = Instant::now() + limit;
        let stream = connect(address, limit, deadline).await?;
        let Some(tls) = request.tls else {
            return self
                .exchange(stream, address, request, limit, deadline)
                .await;
        };
        let connector = match tls.skip_verify {
            true => &self.careless,
            false => self.verifying()?,
        };
        let name = match tls.server_name {
            None => ServerName::from(address.ip()),
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| ProbeError::ServerName(name.to_owned()))?,
        };
        let stream = timeout_at(deadline, connector.connect(name, stream))
            .await
            .map_err(|_| ProbeError::Timeout { address, limit })?
            .map_err(|source| ProbeError::Handshake { address, source })?;
        self.exchange(stream, address, request, limit, deadline)
            .await
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        address: SocketAddr,
        request: ProbeRequest<'_>,
        limit: Duration,
        deadline: Instant,
    ) -> Result<ProbeAnswer, ProbeError> {
        let wanted = request.body_limit;
        let request = self.head(address, request).map_err(ProbeError::Request)?;
        let failed = |source| ProbeError::Exchange { address, source };
        let late = |_| ProbeError::Timeout { address, limit };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let mut connection = std::pin::pin!(connection);
        let exchange = async move {
            let answer = timeout_at(deadline, sender.send_request(request))
                .await
                .map_err(late)?
                .map_err(failed)?;
            let (head, mut body) = answer.into_parts();
            let mut read = BytesMut::new();
            while read.len() < wanted
                && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
            {
                if let Ok(data) = frame.into_data() {
                    read.extend_from_slice(&data[..data.len().min(wanted - read.len())]);
                }
            }
            let location = head.headers.get(header::LOCATION);
            Ok(ProbeAnswer {
                status: head.status,
                location: location.map(|value| String::from_utf8_lossy(value.as_bytes()).into()),
                body: read.freeze(),
            })
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // Whatever ended the connection, the exchange knows what it got of it.
            _ = &mut connection => exchange.await,
        }
    }

    fn head(
        &self,
        address: SocketAddr,
        request: ProbeRequest<'_>,
    ) -> Result<http::Request<Empty<Bytes>>, http::Error> {
        let mut built = http::Request::builder()
            .method(request.method)
            .uri(request.path)
            .body(Empty::new())?;
        let headers = built.headers_mut();
        for (name, value) in request.headers {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, HeaderValue::try_from(address.to_string())?);
        }
        if !headers.contains_key(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, self.user_agent.clone());
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(built)
    }

    fn verifying(&self) -> Result<&TlsConnector, ProbeError> {
        let built = self.verifying.get_or_init(|| {
            let config: Result<ClientConfig, HttpError> = authorities::client_tls(None);
            config
                .map(|config| TlsConnector::from(Arc::new(config)))
                .map_err(|error| mayfly_runtime::report(&error))
        });
        built
            .as_ref()
            .map_err(|error| ProbeError::Authorities(error.clone()))
    }
}

async fn connect(
    address: SocketAddr,
    limit: Duration,
    deadline: Instant,
) -> Result<TcpStream, ProbeError> {
    timeout_at(deadline, TcpStream::connect(address))
        .await
        .map_err(|_| ProbeError::Timeout { address, limit })?
        .map_err(|source| ProbeError::Connect { address, source })
}
