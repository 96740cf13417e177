//! The cloud's API as typed calls.
//!
//! Answers stay JSON documents with accessors for what we show: a newer server's fields survive a read, edit and write
//! by an older command line, and `--json` prints what the server said.

mod api_error;
mod apps;
mod builds;
mod certificates;
mod events;
mod exec_stream;
mod hosts;
mod images;
mod ips;
mod log_page;
mod machine;
mod machines;
mod members;
mod network_policies;
mod orgs;
mod private;
mod releases;
mod scale;
mod secrets;
mod sftp;
mod ssh;
mod tokens;
mod volumes;
mod web_socket;
mod wireguard;

use std::io::Write as _;
use std::time::Duration;

use mayfly_access::{is_macaroon, presented_tokens};
use mayfly_net::{Body, ClientConfig, HttpClient, Method, Request, Response};
use mayfly_types::Secret;
use serde_json::Value;

use crate::program;

pub(crate) use api_error::ApiError;
pub(crate) use apps::{App, CreateApp};
pub(crate) use builds::{BuildStream, ContextSink, FromBuild};
pub(crate) use certificates::Certificate;
pub(crate) use events::EventFilter;
pub(crate) use exec_stream::{ExecEnd, ExecStream, FromProgram};
pub(crate) use ips::{AllocateIp, Ip};
pub(crate) use log_page::{LogFilter, LogLine};
pub(crate) use machine::Machine;
pub(crate) use machines::{Launch, Stop};
pub(crate) use members::{AuditFilter, Invitation};
pub(crate) use network_policies::NetworkPolicy;
pub(crate) use orgs::{Org, ReplayGrants};
pub(crate) use private::PrivateNetwork;
pub(crate) use sftp::{FileKind, Sftp};
pub(crate) use ssh::CertificateRequest;
pub(crate) use tokens::NewToken;
pub(crate) use wireguard::{NewWireguardPeer, StartWireguardPeer, WireguardPeer};

/// Answers are documents about one app or host; a longer one is a mistake.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Tries after the first, for answers that ask to come back.
const RETRIES: u32 = 4;

/// How long a call waits in all for a cloud that limits how often it is asked.
const LIMITED_MAX: Duration = Duration::from_secs(300);

/// Where the Machines API and the platform's API answer, without a slash at the end.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) machines: String,
    pub(crate) platform: String,
}

/// One cloud, as one user. Clones share connections.
#[derive(Clone)]
pub(crate) struct Api {
    http: HttpClient,
    endpoints: Endpoints,
    /// `None` says nothing of who asks.
    authorization: Option<Secret>,
    verbose: bool,
}

/// A call to be completed and sent.
struct Call<'a> {
    api: &'a Api,
    method: Method,
    url: String,
    body: Option<Value>,
    patience: Duration,
}

impl Api {
    pub(crate) fn new(endpoints: Endpoints, token: Secret, verbose: bool) -> Self {
        Self {
            authorization: Some(authorization(&token)),
            verbose,
            ..Self::anonymous(endpoints)
        }
    }

    /// A client for the few calls that need no token.
    pub(crate) fn anonymous(endpoints: Endpoints) -> Self {
        let http = HttpClient::new(ClientConfig {
            user_agent: format!("{}/{}", program::name(), env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        Self {
            http,
            endpoints,
            authorization: None,
            verbose: false,
        }
    }

    fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call {
            api: self,
            method,
            url: format!("{}{path}", self.endpoints.machines),
            body: None,
            patience: Duration::from_secs(60),
        }
    }

    fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    fn post(&self, path: &str) -> Call<'_> {
        self.call(Method::POST, path)
    }

    fn put(&self, path: &str) -> Call<'_> {
        self.call(Method::PUT, path)
    }

    fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    /// A request for an answer that streams, or that upgrades to another protocol.
    fn request(&self, method: Method, path: &str) -> Request {
        self.request_to(method, format!("{}{path}", self.endpoints.machines))
    }

    fn request_to(&self, method: Method, url: String) -> Request {
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(authorization) => request.authorization(authorization.reveal()),
            None => request,
        }
    }

    /// With `--verbose`, what happens on the way.
    fn tell(&self, line: &str) {
        if self.verbose {
            // Nobody reading along is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Sends a request as it is, once.
    async fn stream(&self, request: Request) -> Result<Response, ApiError> {
        let answer = request
            .send()
            .await
            .map_err(|error| ApiError::transport(&self.endpoints.machines, error))?;
        if answer.status().as_u16() <= 299 {
            return Ok(answer);
        }
        Err(ApiError::refusal(answer).await)
    }

    /// What the cloud's daemon says of itself.
    pub(crate) async fn cloud_status(&self) -> Result<Value, ApiError> {
        self.get("/v1/status").send().await
    }

    pub(crate) async fn current_token(&self) -> Result<Value, ApiError> {
        self.get("/v1/tokens/current").send().await
    }

    pub(crate) async fn regions(&self) -> Result<Value, ApiError> {
        self.get("/v1/platform/regions").send().await
    }

    pub(crate) async fn placements(&self, request: Value) -> Result<Value, ApiError> {
        self.post("/v1/platform/placements")
            .json(request)
            .send()
            .await
    }
}

impl Call<'_> {
    fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Marks a create, so that repeating it makes nothing twice.
    fn idempotent(mut self) -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the kernel has random bytes");
        let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some(body) = &mut self.body {
            body["idempotency_key"] = Value::from(key);
        }
        self
    }

    /// On the platform's address instead of the Machines API's.
    fn on_platform(mut self) -> Self {
        let Endpoints { machines, platform } = &self.api.endpoints;
        if let Some(path) = self.url.strip_prefix(machines.as_str()) {
            self.url = format!("{platform}{path}");
        }
        self
    }

    /// How long the server may take to answer.
    fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends the call, again after a pause while the answer is 429, 502 or 503, and returns the answer's JSON (`null`
    /// if it is empty).
    ///
    /// Those answers say that nothing was done; a create carries its key besides.
    async fn send(self) -> Result<Value, ApiError> {
        let mut attempt = 0;
        let mut waited = Duration::ZERO;
        loop {
            match self.send_once().await {
                Err(error)
                    if let Some(pause) = error.limited_for()
                        && waited + pause <= LIMITED_MAX =>
                {
                    self.api.tell(&format!("{error}; again in {pause:?}"));
                    tokio::time::sleep(pause).await;
                    waited += pause;
                }
                Err(error) if error.is_worth_repeating() && attempt < RETRIES => {
                    let pause = Duration::from_millis(250 << attempt);
                    self.api.tell(&format!("{error}; again in {pause:?}"));
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn send_once(&self) -> Result<Value, ApiError> {
        let mut request = self
            .api
            .request_to(self.method.clone(), self.url.clone())
            .head_timeout(Some(self.patience));
        self.api.tell(&format!("{} {}", self.method, self.url));
        request = match &self.body {
            Some(body) => request.json(body),
            None => request.body(Body::empty()),
        };
        let unreachable = |error| ApiError::transport(&self.url, error);
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status().as_u16() > 299 {
            return Err(ApiError::refusal(answer).await);
        }
        let bytes = answer.bytes(ANSWER_BYTES_MAX).await.map_err(unreachable)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|source| ApiError::NotJson {
            url: self.url.clone(),
            source,
        })
    }
}

/// Macaroons travel alone under their own scheme, anything else as a bearer token.
fn authorization(token: &Secret) -> Secret {
    let items: Vec<&str> = presented_tokens(token.reveal()).collect();
    let macaroons: Vec<&str> = items
        .iter()
        .copied()
        .filter(|item| is_macaroon(item))
        .collect();
    Secret::new(if macaroons.is_empty() {
        format!("Bearer {}", items.join(","))
    } else {
        format!("FlyV1 {}", macaroons.join(","))
    })
}

/// The list under `key`; some calls answer with the bare list.
fn list_in(answer: Value, key: &str, call: &str) -> Result<Vec<Value>, ApiError> {
    let listed = match answer {
        Value::Object(mut fields) => fields.remove(key).unwrap_or_default(),
        answer => answer,
    };
    match listed {
        Value::Array(list) => Ok(list),
        _ => Err(ApiError::Unexpected {
            call: call.to_owned(),
            what: "there is no list in it",
        }),
    }
}

/// `text` as one segment or value of a URL: <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>.
pub(crate) fn encoded(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

/// `?a=b&c=d` of the pairs that have a value; empty if none has.
fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given: Vec<String> = pairs
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))))
        .collect();
    if given.is_empty() {
        String::new()
    } else {
        format!("?{}", given.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_in_the_scheme_of_their_kind() {
        for (token, header) in [
            ("fo1_abc", "Bearer fo1_abc"),
            ("Bearer fo1_abc", "Bearer fo1_abc"),
            ("FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b"),
            ("Bearer FlyV1 fm2_a", "FlyV1 fm2_a"),
            ("FlyV1 fm2_a,fo1_b", "FlyV1 fm2_a"),
        ] {
            assert_eq!(
                authorization(&Secret::new(token)).reveal(),
                header,
                "{token}"
            );
        }
    }

    #[test]
    fn queries_hold_only_what_is_given() {
        let limit = Some("5".to_owned());
        assert_eq!(query(&[("after", None), ("limit", limit)]), "?limit=5");
        assert_eq!(
            query(&[("app", Some("a b/ü".to_owned()))]),
            "?app=a%20b%2F%C3%BC"
        );
        assert_eq!(query(&[("app", None)]), "");
    }
}
