use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use bytes::Bytes;
use mayfly_content::GrowingFile;
use mayfly_net::{Response, StatusCode, header};
use tokio::sync::mpsc;

use super::{RegistryError, Repository};
use crate::manifest::Descriptor;

/// One blob on its way into a file. What an earlier try, or an earlier process, brought is continued.
pub(crate) struct Transfer<'a> {
    pub(crate) repository: &'a Repository<'a>,
    pub(crate) blob: &'a Descriptor,
    pub(crate) path: &'a Path,
    /// Told how many bytes of the blob are here.
    pub(crate) progress: &'a (dyn Fn(u64) + Send + Sync),
}

/// Pieces between the network and the disk: enough to keep both busy.
const QUEUE_DEPTH: usize = 32;
/// A registry that always brings a little more and breaks off would otherwise keep us for ever.
const REQUESTS_MAX: u32 = 200;

impl Transfer<'_> {
    /// Brings the whole blob into the file and checks its digest.
    ///
    /// # Errors
    /// After a broken transfer the file stays, to be continued; with a wrong digest it is removed.
    pub(crate) async fn run(&self) -> Result<(), RegistryError> {
        let what = format!("layer {}", self.blob.digest);
        let mut partial = self.open(&what).await?;
        let (mut tries, mut requests) = (0, 0);
        while partial.length() < self.blob.size {
            (self.progress)(partial.length());
            let before = partial.length();
            requests += 1;
            let (after, result) = self.attempt(partial, &what).await?;
            partial = after;
            // An answer that ended early and properly is as good as a broken one.
            let Err(error) = result.and_then(|()| self.complete(&what, partial.length())) else {
                break;
            };
            // Bytes that came count as progress, so that a large blob over a bad line arrives in the end.
            if partial.length() > before && requests < REQUESTS_MAX {
                tries = 0;
            }
            tries += 1;
            self.repository.pause(&what, tries, error).await?;
        }
        (self.progress)(partial.length());
        let found = partial.digest();
        if found == self.blob.digest {
            return Ok(());
        }
        let _ = std::fs::remove_file(self.path);
        Err(RegistryError::Digest {
            registry: self.repository.registry.clone(),
            what,
            found,
        })
    }

    async fn open(&self, what: &str) -> Result<GrowingFile, RegistryError> {
        let (path, size) = (self.path.to_owned(), self.blob.size);
        tokio::task::spawn_blocking(move || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            if file.metadata()?.len() > size {
                file.set_len(0)?;
            }
            GrowingFile::of(file)
        })
        .await
        .expect("reading a file does not panic")
        .map_err(self.disk(what))
    }

    /// One request, as far as it goes. The outer error is that of the disk, which no further try helps.
    async fn attempt(
        &self,
        mut partial: GrowingFile,
        what: &str,
    ) -> Result<(GrowingFile, Result<(), RegistryError>), RegistryError> {
        let path = format!("blobs/{}", self.blob.digest);
        let response = match self.repository.get(&path, what, partial.length()).await {
            Ok(response) => response,
            Err(error) => return Ok((partial, Err(error))),
        };
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(partial.length()) => {}
            // From another place than we asked for, or not at all: the next try begins anew.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart().map_err(self.disk(what))?;
                return Ok((partial, Ok(())));
            }
            // A registry that does not know ranges begins anew by itself.
            _ if partial.length() > 0 => partial.restart().map_err(self.disk(what))?,
            _ => {}
        }
        let from = partial.length();
        let (pieces, queue) = mpsc::channel(QUEUE_DEPTH);
        let writer = tokio::task::spawn_blocking(move || {
            let written = partial.take(queue, |_| Ok(()));
            (partial, written)
        });
        let (received, writer) = tokio::join!(self.receive(response, from, pieces, what), writer);
        let (partial, written) = writer.expect("writing a file does not panic");
        written.map_err(self.disk(what))?;
        Ok((partial, received))
    }

    async fn receive(
        &self,
        mut response: Response,
        mut here: u64,
        pieces: mpsc::Sender<Bytes>,
        what: &str,
    ) -> Result<(), RegistryError> {
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(self.repository.failed(what))?
        {
            here += piece.len() as u64;
            if here > self.blob.size {
                return Err(self.size(what, here));
            }
            // The writer went away after an error of its own, which is the one to report.
            if pieces.send(piece).await.is_err() {
                return Ok(());
            }
            (self.progress)(here);
        }
        Ok(())
    }

    fn complete(&self, what: &str, here: u64) -> Result<(), RegistryError> {
        if here < self.blob.size {
            return Err(self.size(what, here));
        }
        Ok(())
    }

    fn size(&self, what: &str, found: u64) -> RegistryError {
        RegistryError::Size {
            registry: self.repository.registry.clone(),
            what: what.to_owned(),
            stated: self.blob.size,
            found,
        }
    }

    fn disk(&self, what: &str) -> impl FnOnce(io::Error) -> RegistryError {
        let what = what.to_owned();
        move |source| RegistryError::Disk { what, source }
    }
}

fn range_start(response: &Response) -> Option<u64> {
    let range = response.header(header::CONTENT_RANGE)?;
    let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}
