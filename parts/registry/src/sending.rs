//! Content that goes to the bucket in parts, and is gone on with after whatever broke it off.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use mayfly_content::{digests_in, remove};
use mayfly_types::Digest;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::collect::is_older;
use crate::remote::{Begun, Remote, is_away};
use crate::store::Shared;

/// How far content is on its way. Written down after each part.
#[derive(Debug, Serialize, Deserialize)]
struct Sending {
    upload: String,
    part_bytes: u64,
    /// The storage's marks for the parts that are there.
    marks: Vec<String>,
}

impl Shared {
    /// Stores a file's content by parts; those that an earlier try brought are not sent again.
    pub(crate) async fn send_in_parts(
        &self,
        remote: &Remote,
        path: &Path,
        digest: Digest,
        length: u64,
    ) -> io::Result<()> {
        let lock = self.sendings.of(digest);
        let _alone = lock.lock().await;
        if self.has_content(digest) {
            return Ok(());
        }
        match self.send(remote, path, digest, length).await {
            // The storage has given up an upload that was begun long ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                remove(&self.layout.sending(digest))?;
                self.send(remote, path, digest, length).await
            }
            other => other,
        }
    }

    async fn send(
        &self,
        remote: &Remote,
        path: &Path,
        digest: Digest,
        length: u64,
    ) -> io::Result<()> {
        let mut sending = match self.sending(digest)? {
            Some(sending) => sending,
            None => {
                let sending = Sending {
                    upload: remote.begin(digest).await?,
                    part_bytes: remote.part_bytes(length),
                    marks: Vec::new(),
                };
                self.note_sending(digest, &sending)?;
                sending
            }
        };
        let begun = Begun {
            digest,
            upload: sending.upload.clone(),
        };
        let parts = length.div_ceil(sending.part_bytes);
        for number in sending.marks.len() as u64 + 1..=parts {
            let from = (number - 1) * sending.part_bytes;
            let count = sending.part_bytes.min(length - from);
            let mark = remote.put_part(&begun, number, path, (from, count)).await?;
            sending.marks.push(mark);
            self.note_sending(digest, &sending)?;
        }
        remote.complete(&begun, &sending.marks).await?;
        remove(&self.layout.sending(digest)).map(drop)
    }

    fn sending(&self, digest: Digest) -> io::Result<Option<Sending>> {
        match fs::read(self.layout.sending(digest)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn note_sending(&self, digest: Digest, sending: &Sending) -> io::Result<()> {
        let json = serde_json::to_vec(sending).expect("how far content is is plain data");
        self.layout
            .write_durably(&self.layout.sending(digest), &json)
    }

    /// Gives up what nobody has gone on with for so long, and what a crash left in the bucket before it was written down.
    pub(crate) fn drop_sendings(&self, kept_for: Duration) -> io::Result<()> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        for digest in digests_in(&self.layout.sendings())? {
            let note = self.layout.sending(digest);
            if self.arriving().contains_key(&digest) || !is_older(&note, kept_for) {
                continue;
            }
            if let Some(Sending { upload, .. }) = self.sending(digest)? {
                Handle::current().block_on(remote.abort(&Begun { digest, upload }))?;
            }
            remove(&note)?;
            info!(%digest, "gave up a layer on its way to the bucket");
        }
        let begun = match Handle::current().block_on(remote.begun()) {
            // Not every storage shows them, and not every key may see them.
            Err(error) if !is_away(&error) => {
                warn!(%error, "the object storage does not say which uploads are under way");
                return Ok(());
            }
            begun => begun?,
        };
        for begun in begun {
            let is_noted = self
                .sending(begun.digest)?
                .is_some_and(|noted| noted.upload == begun.upload);
            if !is_noted && !self.arriving().contains_key(&begun.digest) {
                Handle::current().block_on(remote.abort(&begun))?;
                info!(digest = %begun.digest, "gave up parts of a layer that a crash left in the bucket");
            }
        }
        Ok(())
    }
}
