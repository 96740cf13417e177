//! A build of the cloud: sources go in, what it says comes out.

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use mayfly_net::Upgraded;
use mayfly_wire::{BuildEvent, StartBuild};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{Api, ApiError, encoded};

/// The side of a build that is read; dropping both sides calls it off.
pub(crate) struct BuildStream(SplitStream<WebSocketStream<Upgraded>>);

/// The side that takes the context.
pub(crate) struct ContextSink(SplitSink<WebSocketStream<Upgraded>, Message>);

/// What comes back.
#[derive(Debug)]
pub(crate) enum FromBuild {
    /// Bytes for people.
    Log(Bytes),
    Event(BuildEvent),
    /// The connection ended before the build did.
    Lost,
}

impl Api {
    pub(crate) async fn build(
        &self,
        app: &str,
        wanted: &StartBuild,
    ) -> anyhow::Result<(ContextSink, BuildStream)> {
        let path = format!("/v1/apps/{}/builds", encoded(app));
        let mut socket = self.web_socket(&path).await?;
        let text = serde_json::to_string(wanted)?;
        socket.send(Message::Text(Utf8Bytes::from(text))).await?;
        let (sink, stream) = socket.split();
        Ok((ContextSink(sink), BuildStream(stream)))
    }
}

impl ContextSink {
    /// Sends a piece of the context, which is not empty; waits while the builder has enough to do.
    pub(crate) async fn send(&mut self, piece: Bytes) -> anyhow::Result<()> {
        Ok(self.0.send(Message::Binary(piece)).await?)
    }

    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.0.send(Message::Binary(Bytes::new())).await?)
    }
}

impl BuildStream {
    pub(crate) async fn next(&mut self) -> anyhow::Result<FromBuild> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => return Ok(FromBuild::Log(bytes)),
                Some(Ok(Message::Text(said))) => {
                    let event = serde_json::from_str(&said);
                    return event.map(FromBuild::Event).map_err(|_| {
                        let what = "the cloud says something that this command line is too old for";
                        ApiError::Unexpected {
                            call: "builds".to_owned(),
                            what,
                        }
                        .into()
                    });
                }
                Some(Ok(Message::Close(_))) | None => return Ok(FromBuild::Lost),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}
