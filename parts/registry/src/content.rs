//! Where content lies: in a file of its own, or in a bucket with a file here that says so.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use mayfly_content::{digests_in, remove, rename_durably};
use mayfly_net::{Response, Shortcut};
use mayfly_types::Digest;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::runtime::Handle;
use tokio_util::io::ReaderStream;

use crate::RegistryError;
use crate::store::{Registry, Shared};

/// Bytes read from the disk at once.
const PIECE: usize = 256 * 1024;

/// Content that is about to be read.
pub(crate) enum Opened {
    File(File),
    /// The part that was asked for and nothing else.
    Remote(Box<Response>),
}

/// The bytes of content as they are read.
pub(crate) type Pieces = BoxStream<'static, io::Result<Bytes>>;

impl Opened {
    /// The bytes from `from` on, `count` of them; those of a file need not be read if there is a way around.
    pub(crate) async fn read(
        self,
        from: u64,
        count: u64,
        shortcut: Option<&Shortcut>,
    ) -> io::Result<Pieces> {
        match (self, shortcut) {
            (Opened::File(file), Some(shortcut)) => Ok(shortcut.body(file, from, count).boxed()),
            (Opened::File(file), None) => {
                let mut file = tokio::fs::File::from_std(file);
                file.set_max_buf_size(PIECE);
                file.seek(SeekFrom::Start(from)).await?;
                Ok(ReaderStream::with_capacity(file.take(count), PIECE).boxed())
            }
            (Opened::Remote(answer), _) => Ok(stream::unfold(answer, |mut answer| async move {
                let piece = answer.chunk().await.map_err(io::Error::other).transpose()?;
                Some((piece, answer))
            })
            .boxed()),
        }
    }
}

impl Registry {
    /// The content of this digest, whosever it is: for the hosts of this cloud, which are told what to fetch. `None` if
    /// there is none.
    pub async fn content(&self, digest: Digest) -> Result<Option<Pieces>, RegistryError> {
        let opened = self
            .with(move |shared| {
                let open = || {
                    let length = shared.content_length(digest)?;
                    Ok::<_, io::Error>((shared.open_content(digest, 0, length)?, length))
                };
                match open() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    other => other.map(Some).map_err(RegistryError::disk("read content")),
                }
            })
            .await?;
        let Some((opened, length)) = opened else {
            return Ok(None);
        };
        let pieces = opened.read(0, length, None).await;
        pieces
            .map(Some)
            .map_err(RegistryError::disk("read content"))
    }
}

/// Content on its way in, which the collector leaves alone.
pub(crate) struct Arriving<'a> {
    shared: &'a Shared,
    digest: Digest,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        let mut arriving = self.shared.arriving();
        if let Some(count) = arriving.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                arriving.remove(&self.digest);
            }
        }
    }
}

impl Shared {
    pub(crate) fn has_content(&self, digest: Digest) -> bool {
        self.layout.blob(digest).exists() || self.layout.remote(digest).exists()
    }

    /// # Errors
    /// `NotFound`.
    pub(crate) fn content_length(&self, digest: Digest) -> io::Result<u64> {
        match fs::metadata(self.layout.blob(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = fs::read_to_string(self.layout.remote(digest))?;
                text.parse().map_err(io::Error::other)
            }
            found => found.map(|found| found.len()),
        }
    }

    /// Says that content of this digest comes, before [`Shared::bring`].
    pub(crate) fn expect(&self, digest: Digest) -> Arriving<'_> {
        let _stays = self.removal.read().expect("no holder of this lock panics");
        *self.arriving().entry(digest).or_default() += 1;
        Arriving {
            shared: self,
            digest,
        }
    }

    /// Makes a finished file content. Takes as long as the disk or the bucket does, so no lock is held.
    pub(crate) fn bring(&self, arriving: &Arriving<'_>, path: &Path) -> io::Result<()> {
        let digest = arriving.digest;
        if self.has_content(digest) {
            return Ok(());
        }
        let file = File::open(path)?;
        let Some(remote) = &self.remote else {
            file.sync_all()?;
            return rename_durably(path, &self.layout.blob(digest));
        };
        let length = file.metadata()?.len();
        drop(file);
        match remote.goes_in_parts(length) {
            true => Handle::current().block_on(self.send_in_parts(remote, path, digest, length))?,
            false => Handle::current().block_on(remote.put(path, digest, length))?,
        }
        let text = length.to_string();
        self.layout
            .write_durably(&self.layout.remote(digest), text.as_bytes())
    }

    /// # Errors
    /// `NotFound`.
    pub(crate) fn open_content(&self, digest: Digest, from: u64, count: u64) -> io::Result<Opened> {
        match File::open(self.layout.blob(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(Opened::File),
        }
        let Some(remote) = &self.remote else {
            // It went to a bucket that is not configured any more.
            return Err(io::ErrorKind::NotFound.into());
        };
        let answer = Handle::current().block_on(remote.get(digest, from, count))?;
        Ok(Opened::Remote(Box::new(answer)))
    }

    /// Every digest there is content of.
    pub(crate) fn all_content(&self) -> io::Result<BTreeSet<Digest>> {
        let mut all: BTreeSet<Digest> = digests_in(&self.layout.blobs())?.into_iter().collect();
        all.extend(digests_in(&self.layout.remotes())?);
        Ok(all)
    }

    /// The file whose time says since when content is here.
    pub(crate) fn content_mark(&self, digest: Digest) -> PathBuf {
        let local = self.layout.blob(digest);
        match local.exists() {
            true => local,
            false => self.layout.remote(digest),
        }
    }

    /// Removes content that nobody has use for; false if it was gone. The caller holds the lock of removals.
    pub(crate) fn drop_content(&self, digest: Digest) -> io::Result<bool> {
        if self.arriving().contains_key(&digest) {
            return Ok(false);
        }
        let local = remove(&self.layout.blob(digest))?;
        let marked = self.layout.remote(digest);
        if !marked.exists() {
            return Ok(local);
        }
        // A crash in between leaves a note, and the next turn ends what this one began.
        rename_durably(&marked, &self.layout.leaving(digest))?;
        self.end_leaving(digest)?;
        Ok(true)
    }

    /// Takes out of the bucket what an earlier turn could not.
    pub(crate) fn drop_left(&self) -> io::Result<()> {
        for digest in digests_in(&self.layout.leavings())? {
            let _alone = self.removal.write().expect("no holder of this lock panics");
            let came_back = self.layout.remote(digest).exists();
            if came_back {
                remove(&self.layout.leaving(digest))?;
            } else if !self.arriving().contains_key(&digest) {
                self.end_leaving(digest)?;
            }
        }
        Ok(())
    }

    fn end_leaving(&self, digest: Digest) -> io::Result<()> {
        if let Some(remote) = &self.remote {
            Handle::current().block_on(remote.delete(digest))?;
            remove(&self.layout.leaving(digest))?;
        }
        Ok(())
    }
}
