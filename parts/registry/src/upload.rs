//! Uploads of blobs: sessions that take bytes piece by piece and end as a blob of their repository.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use mayfly_content::{GrowingFile, remove};
use mayfly_types::Digest;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::RegistryError;
use crate::name::Repository;
use crate::store::{Registry, Shared, blocking};

/// Between two looks at how much room the disk has.
const LOOK_EVERY_BYTES: u64 = 32 << 20;
/// Pieces between the network and the disk, of at most some 400 KiB each: enough to keep both busy.
const QUEUE_DEPTH: usize = 8;

/// An upload under way.
#[derive(Debug)]
pub(crate) struct Session {
    path: PathBuf,
    file: GrowingFile,
}

/// What an upload is for, beside its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Purpose {
    repository: String,
}

/// A session that nobody else writes to meanwhile.
pub(crate) struct Writing {
    session: OwnedMutexGuard<Session>,
    registry: Registry,
}

impl Writing {
    pub(crate) fn length(&self) -> u64 {
        self.session.file.length()
    }

    /// Appends a body. Cancelling keeps what has come, as does a body that breaks off.
    pub(crate) async fn append(self, body: Body) -> Result<Writing, RegistryError> {
        let (pieces, queue) = mpsc::channel(QUEUE_DEPTH);
        let Writing {
            mut session,
            registry,
        } = self;
        let limits = registry.0.limits.clone();
        let room = limits.blob_bytes_max.saturating_sub(session.file.length());
        let too_large = RegistryError::TooLarge {
            what: "a blob",
            bytes_max: limits.blob_bytes_max,
        };
        let shared = registry.0.clone();
        let writer = blocking(move || {
            session
                .take(queue, || shared.check_room())
                .map_err(RegistryError::disk("write an upload"))?;
            Ok(session)
        });
        let received = receive(body, pieces, room, limits.silence_max);
        let (received, written) = tokio::join!(received, writer);
        let session = written?;
        let length = session.file.length();
        match received {
            Received::All => Ok(Writing { session, registry }),
            Received::Part => Err(RegistryError::CutOff { length }),
            Received::TooMuch => Err(too_large),
        }
    }
}

enum Received {
    All,
    Part,
    TooMuch,
}

async fn receive(
    body: Body,
    pieces: mpsc::Sender<Bytes>,
    room: u64,
    silence_max: Duration,
) -> Received {
    let mut stream = body.into_data_stream();
    let mut length = 0;
    loop {
        let piece = match tokio::time::timeout(silence_max, stream.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => return Received::All,
            Ok(Some(Err(_))) | Err(_) => return Received::Part,
        };
        length += piece.len() as u64;
        if length > room {
            return Received::TooMuch;
        }
        // The writer went away after an error of its own, which is the one to report.
        if pieces.send(piece).await.is_err() {
            return Received::Part;
        }
    }
}

impl Session {
    /// Continues the file of an upload; what is in it counts.
    fn open(path: PathBuf) -> io::Result<Session> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let file = GrowingFile::of(file)?;
        Ok(Session { path, file })
    }

    fn take(
        &mut self,
        queue: mpsc::Receiver<Bytes>,
        check_room: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut look_at = self.file.length();
        self.file.take(queue, |length| {
            if length >= look_at {
                check_room()?;
                look_at = length + LOOK_EVERY_BYTES;
            }
            Ok(())
        })
    }
}

impl Registry {
    /// Begins an upload; returns its id.
    pub(crate) async fn begin_upload(
        &self,
        repository: &Repository,
    ) -> Result<String, RegistryError> {
        let purpose = Purpose {
            repository: repository.file_name(),
        };
        self.with(move |shared| {
            let bytes: [u8; 16] = shared.entropy.bytes();
            let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let path = shared.upload(&id);
            let json = serde_json::to_vec(&purpose).expect("a purpose is plain data");
            File::create_new(&path)
                .and_then(|_| {
                    shared
                        .layout
                        .write_durably(&path.with_extension("json"), &json)
                })
                .map_err(RegistryError::disk("begin an upload"))?;
            Ok(id)
        })
        .await
    }

    /// The upload of this id and repository.
    ///
    /// # Errors
    /// `UploadBusy` while another request writes to it.
    pub(crate) async fn upload(
        &self,
        repository: &Repository,
        id: &str,
    ) -> Result<Writing, RegistryError> {
        let unknown = || RegistryError::UnknownUpload(id.chars().take(64).collect());
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let (wanted, name) = (id.to_owned(), repository.file_name());
        let session = self
            .with(move |shared| {
                let path = shared.upload(&wanted);
                let found = fs::read(path.with_extension("json")).and_then(|bytes| {
                    let purpose: Purpose =
                        serde_json::from_slice(&bytes).map_err(io::Error::other)?;
                    if purpose.repository != name {
                        return Err(io::ErrorKind::NotFound.into());
                    }
                    // Reading back may take a while for a large one; it is done once after a restart.
                    let mut sessions = shared.sessions();
                    if let Some(known) = sessions.get(&wanted) {
                        return Ok(known.clone());
                    }
                    let session = Arc::new(tokio::sync::Mutex::new(Session::open(path)?));
                    sessions.insert(wanted, session.clone());
                    Ok(session)
                });
                match found {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    other => other
                        .map(Some)
                        .map_err(RegistryError::disk("continue an upload")),
                }
            })
            .await?
            .ok_or_else(unknown)?;
        let session = session.try_lock_owned();
        Ok(Writing {
            session: session.map_err(|_| RegistryError::UploadBusy)?,
            registry: self.clone(),
        })
    }

    /// Ends an upload as a blob of the repository. With another digest than stated nothing is kept.
    pub(crate) async fn finish_upload(
        &self,
        repository: &Repository,
        id: &str,
        writing: Writing,
        stated: Digest,
    ) -> Result<(), RegistryError> {
        let (repository, id) = (repository.clone(), id.to_owned());
        self.with(move |shared| {
            let session = writing.session;
            let found = session.file.digest();
            if found != stated {
                shared.end_upload(&id)?;
                return Err(RegistryError::OtherDigest { stated, found });
            }
            if let Err(error) = shared.check_quota(&repository, found, session.file.length()) {
                shared.end_upload(&id)?;
                return Err(error);
            }
            shared
                .keep_file(&repository, found, &session.path)
                .map_err(RegistryError::disk("keep a blob"))?;
            shared.end_upload(&id)
        })
        .await
    }

    /// Gives an upload up.
    pub(crate) async fn cancel_upload(&self, id: &str) -> Result<(), RegistryError> {
        let id = id.to_owned();
        self.with(move |shared| shared.end_upload(&id)).await
    }
}

impl Shared {
    /// Makes a finished file a blob of the repository.
    pub(crate) fn keep_file(
        &self,
        repository: &Repository,
        digest: Digest,
        path: &Path,
    ) -> io::Result<()> {
        let arriving = self.expect(digest);
        self.bring(&arriving, path)?;
        let _stays = self.removal.read().expect("no holder of this lock panics");
        self.link(repository, digest)
    }

    /// # Errors
    /// `StorageFull` if the rest of the disk is not the registry's.
    pub(crate) fn check_room(&self) -> io::Result<()> {
        match self.layout.free_bytes()? < self.limits.free_bytes_min {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn check_quota(
        &self,
        repository: &Repository,
        digest: Digest,
        length: u64,
    ) -> Result<(), RegistryError> {
        let Some(bytes_max) = self.limits.app_bytes_max else {
            return Ok(());
        };
        let failed = RegistryError::disk("count an app's blobs");
        let known = self.layout.repository(repository).link(digest).exists();
        let used = self.used_by(repository.owner).map_err(failed)?;
        match known || used + length <= bytes_max {
            true => Ok(()),
            false => Err(RegistryError::Quota { used, bytes_max }),
        }
    }

    fn upload(&self, id: &str) -> PathBuf {
        self.layout.uploads().join(id)
    }

    pub(crate) fn sessions(
        &self,
    ) -> std::sync::MutexGuard<
        '_,
        std::collections::HashMap<String, Arc<tokio::sync::Mutex<Session>>>,
    > {
        self.sessions.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn end_upload(&self, id: &str) -> Result<(), RegistryError> {
        let failed = RegistryError::disk("end an upload");
        let path = self.upload(id);
        self.sessions().remove(id);
        remove(&path.with_extension("json"))
            .and_then(|_| remove(&path))
            .map(drop)
            .map_err(failed)
    }
}
