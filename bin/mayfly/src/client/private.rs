//! Doors into the private networks of an organization.

use std::future::ready;

use futures_util::{SinkExt, StreamExt};
use mayfly_net::{Body, HeaderName, Method, Piece, Upgraded, carry};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use super::{Api, ApiError, encoded, query};

const DNS_ANSWER_MAX: usize = 64 << 10;

/// An organization, and the app through whose network names and addresses are seen.
#[derive(Clone, Debug)]
pub(crate) struct PrivateNetwork {
    pub(crate) org: String,
    pub(crate) app: Option<String>,
}

impl PrivateNetwork {
    fn path(&self, call: &str, to: Option<&str>) -> String {
        let query = query(&[("to", to.map(str::to_owned)), ("app", self.app.clone())]);
        format!("/v1/orgs/{}/{call}{query}", encoded(&self.org))
    }
}

/// An open connection into a private network.
pub(crate) struct Tunnel(WebSocketStream<Upgraded>);

impl Api {
    /// Connects to `<name or [address]>:<port>`.
    pub(crate) async fn connect(
        &self,
        network: &PrivateNetwork,
        to: &str,
    ) -> anyhow::Result<Tunnel> {
        let path = network.path("connect", Some(to));
        Ok(Tunnel(self.web_socket(&path).await?))
    }

    /// The address that answered, and after how many microseconds.
    pub(crate) async fn ping(
        &self,
        network: &PrivateNetwork,
        to: &str,
    ) -> Result<(String, u64), ApiError> {
        let path = network.path("ping", Some(to));
        // Silence is an answer here: it is not asked again.
        let answer = self.post(&path).json(json!({})).send_once().await?;
        let address = answer.get("address").and_then(Value::as_str);
        let took = answer.get("rtt_us").and_then(Value::as_u64);
        match (address, took) {
            (Some(address), Some(took)) => Ok((address.to_owned(), took)),
            _ => Err(ApiError::Unexpected {
                call: path,
                what: "it does not say how long the echo took",
            }),
        }
    }

    /// The answer to a DNS message.
    pub(crate) async fn dns(
        &self,
        network: &PrivateNetwork,
        message: Vec<u8>,
    ) -> anyhow::Result<Vec<u8>> {
        let request = self
            .request(Method::POST, &network.path("dns", None))
            .header(
                HeaderName::from_static("content-type"),
                "application/dns-message",
            )
            .body(Body::bytes(message));
        let answer = self.stream(request).await?;
        Ok(answer.bytes(DNS_ANSWER_MAX).await?.to_vec())
    }
}

impl Tunnel {
    /// Carries both directions until both have ended, or one side is gone.
    pub(crate) async fn carry(
        self,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
    ) {
        let (sink, stream) = self.0.split();
        let incoming = stream.map(|message| match message {
            Ok(Message::Binary(bytes)) => Piece::Bytes(bytes),
            Ok(Message::Ping(_) | Message::Pong(_)) => Piece::Nothing,
            _ => Piece::Gone,
        });
        let outgoing = sink.with(|bytes| ready(Ok::<_, WebSocketError>(Message::Binary(bytes))));
        carry(incoming, outgoing, reader, writer).await;
    }
}
