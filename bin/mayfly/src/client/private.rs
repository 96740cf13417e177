//! Doors into the private networks of an organization.

use bytes::BytesMut;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use mayfly_net::{Body, HeaderName, Method, Upgraded};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{Api, ApiError, encoded, query};

/// Bytes read at once: large enough that a message's own cost does not count.
const PIECE: usize = 128 << 10;
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
        let (mut sink, stream) = self.0.split();
        let (ended, heard_end) = oneshot::channel();
        let both_ended = async {
            if outward(reader, &mut sink).await.is_ok() {
                // Fails when the other future has ended, which ends this one.
                let _ = heard_end.await;
            }
        };
        tokio::select! {
            () = inward(stream, writer, ended) => {}
            () = both_ended => {}
        }
        // The cloud may be gone.
        let _ = sink.close().await;
    }
}

type Sink = SplitSink<WebSocketStream<Upgraded>, Message>;
type Source = SplitStream<WebSocketStream<Upgraded>>;

/// An empty message says that no more comes from its side.
async fn outward(
    mut reader: impl AsyncRead + Unpin,
    sink: &mut Sink,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        // A program that went away has no more to say, like one that closed its side.
        let read = reader.read_buf(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return sink.send(Message::Binary(Bytes::new())).await;
        }
        sink.send(Message::Binary(buffer.split().freeze())).await?;
    }
}

async fn inward(
    mut stream: Source,
    mut writer: impl AsyncWrite + Unpin,
    ended: oneshot::Sender<()>,
) {
    let mut ended = Some(ended);
    while let Some(Ok(message)) = stream.next().await {
        let done = match message {
            Message::Binary(bytes) if bytes.is_empty() => {
                let done = writer.shutdown().await;
                ended.take().map(|ended| ended.send(()));
                done
            }
            Message::Binary(bytes) => match writer.write_all(&bytes).await {
                Ok(()) => writer.flush().await,
                failed => failed,
            },
            Message::Close(_) => return,
            _ => Ok(()),
        };
        if done.is_err() {
            return;
        }
    }
}
