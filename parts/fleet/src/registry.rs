//! The registry of a cloud on its other servers: a port that leads to it, and its images for their hosts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use mayfly_fleet_api::{Call, CallError};
use mayfly_runtime::{Stop, TaskSet, report};
use mayfly_types::{Digest, ErrorKind};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use crate::carry::carry;
use crate::line::{Answer, Line};
use crate::link::Link;

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const DRAIN: Duration = Duration::from_secs(2);

/// The registry of this server, as others are led to it.
#[derive(Clone)]
pub struct LedRegistry {
    /// What images are called by that are in it.
    pub names: Vec<String>,
    /// Where it listens.
    pub address: SocketAddr,
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

/// A port of this server that leads to the registry of the first one. Whoever connects shows the registry their token.
pub struct RegistryPassage {
    listener: TcpListener,
    control: Link,
}

impl RegistryPassage {
    pub fn new(listener: TcpListener, control: Link) -> Self {
        Self { listener, control }
    }

    /// Leads connections on until told to stop.
    pub async fn run(self, stop: Stop) {
        let connections = TaskSet::under(&stop);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, _) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let control = self.control.clone();
            connections
                .spawn_guarded("fleet.registry", |stop| async move {
                    let led = async {
                        match control.stream(&Call::Registry).await {
                            Ok(line) => carry(line, stream).await,
                            Err(error) => Err(io::Error::other(error)),
                        }
                    };
                    if let Some(Err(error)) = stop.run_until_cancelled(led).await {
                        debug!(error = report(&error), "connection to the registry ended");
                    }
                })
                .await;
        }
        connections.shut_down(DRAIN).await;
    }
}

/// Joins another server's connection to the registry here.
pub(crate) async fn lead(registry: &LedRegistry, mut line: Line) -> io::Result<Option<Line>> {
    match TcpStream::connect(registry.address).await {
        Ok(stream) => {
            stream.set_nodelay(true)?;
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
