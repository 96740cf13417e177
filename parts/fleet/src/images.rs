//! Images between the stores of a fleet, for what is in no registry.

use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mayfly_fleet_api::{Call, CallError, ImageCall};
use mayfly_image::{ImagePeers, ImageStore};
use mayfly_types::{Digest, ErrorKind, ImageRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::line::{Answer, DATA, END, Line, PIECE_BYTES};
use crate::link::Link;
use crate::peers::Peers;

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

/// Answers a peer out of this server's store.
pub(crate) async fn answer(
    images: &ImageStore,
    call: ImageCall,
    mut line: Line,
) -> io::Result<Line> {
    match call {
        ImageCall::Find(image) => line.writer.answer(&Ok(images.offered(&image))).await?,
        ImageCall::Blob { digest } => match tokio::fs::File::open(images.blob_path(digest)).await {
            Ok(mut file) => {
                line.writer.answer(&Ok(())).await?;
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    let count = file.read(&mut piece).await?;
                    if count == 0 {
                        break;
                    }
                    line.writer.frame(DATA, &piece[..count]).await?;
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
