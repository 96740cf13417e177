//! The registry of a cloud, as other servers reach it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use mayfly_fleet_api::CallError;
use mayfly_net::Doorway;
use mayfly_types::{Digest, ErrorKind};

use crate::carry::carry;
use crate::line::{Answer, Line};

/// The registry of this server, as others are led to it.
#[derive(Clone)]
pub struct LedRegistry {
    /// What images are called by that are in it.
    pub names: Vec<String>,
    pub doorway: Doorway,
    pub content: Arc<dyn RegistryContent>,
}

/// The bytes of a registry.
#[async_trait]
pub trait RegistryContent: Send + Sync + 'static {
    /// A manifest or a blob of any repository; `None` if there is none.
    async fn content(
        &self,
        digest: Digest,
    ) -> io::Result<Option<BoxStream<'static, io::Result<Bytes>>>>;
}

/// Joins another server's connection to the registry here.
pub(crate) async fn lead(
    registry: &LedRegistry,
    client: Option<SocketAddr>,
    mut line: Line,
) -> io::Result<Option<Line>> {
    match registry.doorway.enter(client).await {
        Ok(stream) => {
            line.writer.answer(&Ok(())).await?;
            carry(line, stream).await.map(|()| None)
        }
        Err(error) => {
            let text = format!("reach the registry: {error}");
            let answer: Answer<()> = Err(CallError::new(ErrorKind::Unavailable, text));
            line.writer.answer(&answer).await?;
            Ok(Some(line))
        }
    }
}
