//! Images between the stores of a fleet, for what is in no registry.

use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};
use mayfly_fleet_api::{Call, CallError, ImageCall};
use mayfly_image::ImagePeers;
use mayfly_runtime::report;
use mayfly_types::{Digest, ErrorKind, ImageRef};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use tracing::debug;

use crate::line::{Answer, DATA, END, Line, PIECE_BYTES};
use crate::link::Link;
use crate::peers::Peers;
use crate::server::ListenerDeps;

const FIND_PATIENCE: Duration = Duration::from_secs(3);

/// The stores of the other servers, asked all at once.
pub struct FleetImages(Peers);

impl FleetImages {
    pub fn new(peers: Peers) -> Self {
        Self(peers)
    }
}

#[async_trait]
impl ImagePeers for FleetImages {
    async fn find(&self, image: &ImageRef) -> Option<Digest> {
        let links = self.0.links();
        let asked = links.iter().map(|link| async move {
            let call = Call::Image(ImageCall::Find(image.clone()));
            link.ask::<Option<Digest>>(&call, FIND_PATIENCE)
                .await
                .ok()?
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        while let Some(answer) = asked.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    async fn fetch(
        &self,
        blob: Digest,
        bytes_max: u64,
        into: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> io::Result<()> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "no other server has it");
        for link in self.0.links() {
            match fetch_from(&link, blob, bytes_max, into, progress).await {
                Ok(()) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

async fn fetch_from(
    link: &Link,
    blob: Digest,
    bytes_max: u64,
    into: &Path,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> io::Result<()> {
    let call = Call::Image(ImageCall::Blob { digest: blob });
    let mut line = link.stream(&call).await.map_err(io::Error::other)?;
    let mut file = tokio::fs::File::create(into).await?;
    let mut here = 0;
    loop {
        let frame = line.reader.expect_soon().await?;
        match frame.kind {
            DATA => {
                here += frame.bytes.len() as u64;
                if here > bytes_max {
                    return Err(io::Error::other("the blob is longer than it should be"));
                }
                file.write_all(&frame.bytes).await?;
                progress(here);
            }
            END => return file.flush().await,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Answers a peer out of this server's store, and out of the registry if it is here.
pub(crate) async fn answer(
    deps: &ListenerDeps,
    call: ImageCall,
    mut line: Line,
) -> io::Result<Line> {
    match call {
        ImageCall::Find(image) => {
            line.writer.answer(&Ok(find(deps, &image).await)).await?;
        }
        ImageCall::Blob { digest } => match open(deps, digest).await {
            Ok(mut pieces) => {
                line.writer.answer(&Ok(())).await?;
                while let Some(piece) = pieces.next().await {
                    for frame in piece?.chunks(PIECE_BYTES) {
                        line.writer.frame(DATA, frame).await?;
                    }
                }
                line.writer.frame(END, &[]).await?;
            }
            Err(error) => {
                let text = format!("read blob {digest}: {error}");
                let answer: Answer<()> = Err(CallError::new(ErrorKind::NotFound, text));
                line.writer.answer(&answer).await?;
            }
        },
    }
    Ok(line)
}

async fn find(deps: &ListenerDeps, image: &ImageRef) -> Option<Digest> {
    if let Some(digest) = deps.images.offered(image) {
        return Some(digest);
    }
    let names = &deps.registry.as_ref()?.names;
    if !names.iter().any(|name| name == image.registry()) {
        return None;
    }
    // This server's own store knows which image of an index is for its hosts, and keeps the documents.
    let found = deps.images.resolve(image, None).await;
    let found =
        found.inspect_err(|error| debug!(%image, error = report(error), "not found for a peer"));
    Some(found.ok()?.digest)
}

async fn open(
    deps: &ListenerDeps,
    digest: Digest,
) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    let missing = match tokio::fs::File::open(deps.images.blob_path(digest)).await {
        Ok(file) => return Ok(ReaderStream::with_capacity(file, PIECE_BYTES).boxed()),
        Err(error) => error,
    };
    let Some(registry) = &deps.registry else {
        return Err(missing);
    };
    registry.content.content(digest).await?.ok_or(missing)
}
