use std::future::ready;
use std::net::SocketAddrV6;
use std::sync::Arc;

use axum::extract::ws::{
    Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
};
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use mayfly_host_api::Connection;
use mayfly_net::{Piece, carry};

use super::target::{network, target};
use crate::access::{Caller, Lasting};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

const MESSAGE_MAX: usize = 1 << 20;

/// `GET /v1/orgs/<slug>/connect?to=<host>:<port>`: a connection into the private network on a WebSocket.
///
/// Binary messages are the bytes; an empty one says that no more come from its side. A target that cannot be reached is
/// refused before the connection becomes a WebSocket. It ends when the caller may make it no longer.
pub(crate) async fn connect(
    State(cloud): State<Arc<Cloud>>,
    Lasting {
        access: caller,
        standing,
    }: Lasting<Caller>,
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
        .on_upgrade(move |socket| async move {
            let still = |caller: &Caller| caller.org_called(&slug).map(drop);
            tokio::select! {
                () = relay(socket, connection) => {}
                _ = standing.lost(still) => {}
            }
        }))
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

async fn relay(socket: WebSocket, connection: Connection) {
    let (sink, stream) = socket.split();
    let incoming = stream.map(|message| match message {
        Ok(Message::Binary(bytes)) => Piece::Bytes(bytes),
        Ok(Message::Ping(_) | Message::Pong(_)) => Piece::Nothing,
        Ok(Message::Text(_) | Message::Close(_)) | Err(_) => Piece::Gone,
    });
    let outgoing = sink.with(|bytes| ready(Ok::<_, axum::Error>(Message::Binary(bytes))));
    let (reader, writer) = tokio::io::split(connection);
    carry(incoming, outgoing, reader, writer).await;
}
