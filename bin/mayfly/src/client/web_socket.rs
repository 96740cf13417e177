//! Calls that become a stream in both directions.

use base64::Engine as _;
use mayfly_net::{HeaderName, Method, Upgraded, header};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Api, ApiError};

impl Api {
    /// The call at `path` as a WebSocket.
    pub(super) async fn web_socket(&self, path: &str) -> anyhow::Result<WebSocketStream<Upgraded>> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).expect("the kernel has random bytes");
        let upgrade = self
            .request(Method::GET, path)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(HeaderName::from_static("sec-websocket-version"), "13")
            .header(
                HeaderName::from_static("sec-websocket-key"),
                base64::engine::general_purpose::STANDARD.encode(key),
            );
        let answer = self.stream(upgrade).await?;
        if answer.status().as_u16() != 101 {
            return Err(ApiError::Unexpected {
                call: path.to_owned(),
                what: "the connection was not switched to a stream",
            }
            .into());
        }
        let connection = answer.upgrade().await?;
        Ok(WebSocketStream::from_raw_socket(connection, Role::Client, None).await)
    }
}
