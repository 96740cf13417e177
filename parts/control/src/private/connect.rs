use std::net::SocketAddrV6;
use std::sync::Arc;

use axum::extract::ws::{
    Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
};
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use mayfly_host_api::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;

use super::target::{network, target};
use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

const MESSAGE_MAX: usize = 1 << 20;
/// Bytes read at once: large enough that a message's own cost does not count.
const PIECE: usize = 128 << 10;

/// `GET /v1/orgs/<slug>/connect?to=<host>:<port>`: a connection into the private network on a WebSocket.
///
/// Binary messages are the bytes; an empty one says that no more come from its side. A target that cannot be reached is
/// refused before the connection becomes a WebSocket.
pub(crate) async fn connect(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    query.only(&["to", "app", "network"])?;
    let upgrade = upgrade.map_err(|error| ApiError::unreadable(error.body_text()))?;
    let org = caller.org_called(&slug)?;
    let (host, port) = host_and_port(query.text("to").unwrap_or_default())?;
    let network = network(&cloud, &caller, org, &query).await?;
    let target = target(&cloud, org, network, host).await?;
    let address = SocketAddrV6::new(target.address, port, 0, 0);
    let connection = target.host.connect(address).await?;
    Ok(upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| carry(socket, connection)))
}

fn host_and_port(to: &str) -> Result<(&str, u16), ApiError> {
    let split = to.rsplit_once(':');
    let parsed = split.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parsed {
        Some((host, port)) if !host.is_empty() && port > 0 => Ok((host, port)),
        _ => Err(ApiError::unreadable(format!(
            "query parameter \"to\" must be <name or [address]>:<port>, got \"{to}\""
        ))),
    }
}

/// Until both sides have said that no more comes, or one of them is gone.
async fn carry(socket: WebSocket, connection: Connection) {
    let (mut sink, stream) = socket.split();
    let (reader, writer) = tokio::io::split(connection);
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
    // The client may be gone.
    let _ = sink.close().await;
}

/// Returns when the client is gone, or the target takes no more.
async fn inward(
    mut stream: SplitStream<WebSocket>,
    mut writer: WriteHalf<Connection>,
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
            Message::Binary(bytes) => writer.write_all(&bytes).await,
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Text(_) | Message::Close(_) => return,
        };
        if done.is_err() {
            return;
        }
    }
}

async fn outward(
    mut reader: ReadHalf<Connection>,
    sink: &mut SplitSink<WebSocket, Message>,
) -> Result<(), axum::Error> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        // A broken connection has no more to say, like one that ended.
        let read = reader.read_buf(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return sink.send(Message::Binary(Bytes::new())).await;
        }
        sink.send(Message::Binary(buffer.split().freeze())).await?;
    }
}
