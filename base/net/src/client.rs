use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::{Body, HttpError, Request, authorities};

/// How a client behaves unless a request says otherwise.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Sent as `user-agent`.
    pub user_agent: String,
    /// Authorities to trust beside the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// From sending a request to the head of its answer.
    pub head_timeout: Duration,
    /// Between two pieces of an answer's body.
    pub body_timeout: Duration,
    /// How long an unused connection is kept.
    pub keep_idle: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            user_agent: concat!("mayfly/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_file: None,
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            keep_idle: Duration::from_secs(30),
        }
    }
}

/// Sends requests over pooled connections. Clones share the pool.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    config: ClientConfig,
    plain: Client<HttpConnector, Body>,
    /// Built by the first https request: reading the system's authorities takes milliseconds, and a command line that
    /// talks to its own host never needs them.
    tls: Mutex<Option<TlsClient>>,
}

type TlsClient = Client<HttpsConnector<HttpConnector>, Body>;

impl HttpClient {
    pub fn new(config: ClientConfig) -> Self {
        let plain = pool(&config).build(tcp(&config));
        Self(Arc::new(Inner {
            config,
            plain,
            tls: Mutex::new(None),
        }))
    }

    /// A request to be completed and sent; an unusable `url` is reported by sending it.
    pub fn request(&self, method: Method, url: impl Into<String>) -> Request {
        Request::new(self.clone(), method, url.into())
    }

    pub fn get(&self, url: impl Into<String>) -> Request {
        self.request(Method::GET, url)
    }

    pub fn post(&self, url: impl Into<String>) -> Request {
        self.request(Method::POST, url)
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    pub(crate) async fn exchange(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<hyper::body::Incoming>, HttpError> {
        let authority = authority(request.uri());
        let answer = match request.uri().scheme_str() {
            Some("https") => self.tls()?.request(request).await,
            _ => self.0.plain.request(request).await,
        };
        answer.map_err(|error| {
            let connecting = error.is_connect();
            if connecting && let Some(source) = unresolved(&error) {
                return HttpError::Resolve { authority, source };
            }
            let source = Box::new(error);
            if connecting {
                HttpError::Connect { authority, source }
            } else {
                HttpError::Send { authority, source }
            }
        })
    }

    fn tls(&self) -> Result<TlsClient, HttpError> {
        let mut built = self.0.tls.lock().expect("no holder of this lock panics");
        if let Some(client) = &*built {
            return Ok(client.clone());
        }
        let tls = authorities::client_tls(self.0.config.ca_file.as_deref())?;
        let mut tcp = tcp(&self.0.config);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let client = pool(&self.0.config).build(connector);
        *built = Some(client.clone());
        Ok(client)
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new(ClientConfig::default())
    }
}

/// The resolver's words, if it was the resolver that failed.
fn unresolved(
    error: &hyper_util::client::legacy::Error,
) -> Option<Box<dyn std::error::Error + Send + Sync>> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // What hyper-util's connector says of its resolver; the type is not public.
        if error.to_string() == "dns error" {
            let words = error.source().map_or_else(String::new, ToString::to_string);
            return Some(words.into());
        }
        cause = error.source();
    }
    None
}

fn tcp(config: &ClientConfig) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(config.connect_timeout));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(Duration::from_secs(60)));
    connector
}

fn pool(config: &ClientConfig) -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.keep_idle);
    builder
}

/// Host and port for messages: an address without the path, which may hold a signature.
pub(crate) fn authority(uri: &Uri) -> String {
    uri.authority().map_or_else(
        || uri.to_string(),
        |authority| {
            let text = authority.as_str();
            text.rsplit_once('@')
                .map_or(text, |(_, host)| host)
                .to_owned()
        },
    )
}
