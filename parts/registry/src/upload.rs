//! Uploads of blobs: sessions that take bytes piece by piece and end as a blob of their repository.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use mayfly_types::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::RegistryError;
use crate::layout::{remove, rename_durably};
use crate::name::Repository;
use crate::store::{Registry, Shared, blocking};

/// Bytes of one blob.
const BLOB_MAX: u64 = 64 << 30;
/// Longest silence of a sender; what has come is kept.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Pieces between the network and the disk, of at most some 400 KiB each: enough to keep both busy.
const QUEUE_DEPTH: usize = 8;

/// An upload under way: what is in its file, and the digest of that.
#[derive(Debug)]
pub(crate) struct Session {
    path: PathBuf,
    file: File,
    length: u64,
    hash: Sha256,
}

/// What an upload is for, beside its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Purpose {
    repository: String,
}

/// A session that nobody else writes to meanwhile.
pub(crate) struct Writing(OwnedMutexGuard<Session>);

impl Writing {
    pub(crate) fn length(&self) -> u64 {
        self.0.length
    }

    /// Appends a body. Cancelling keeps what has come, as does a body that breaks off.
    pub(crate) async fn append(self, body: Body) -> Result<Writing, RegistryError> {
        let (pieces, queue) = mpsc::channel(QUEUE_DEPTH);
        let mut session = self.0;
        let writer = blocking(move || {
            session
                .take(queue)
                .map_err(RegistryError::disk("write an upload"))?;
            Ok(session)
        });
        let (received, written) = tokio::join!(receive(body, pieces), writer);
        let writing = Writing(written?);
        if received? == Received::All {
            if writing.length() > BLOB_MAX {
                return Err(RegistryError::TooLarge {
                    what: "a blob",
                    bytes_max: BLOB_MAX,
                });
            }
            return Ok(writing);
        }
        Err(RegistryError::CutOff {
            length: writing.length(),
        })
    }
}

#[derive(PartialEq)]
enum Received {
    All,
    Part,
}

async fn receive(body: Body, pieces: mpsc::Sender<Bytes>) -> Result<Received, RegistryError> {
    let mut stream = body.into_data_stream();
    let mut length = 0;
    loop {
        let piece = match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => return Ok(Received::All),
            Ok(Some(Err(_))) | Err(_) => return Ok(Received::Part),
        };
        length += piece.len() as u64;
        if length > BLOB_MAX {
            return Err(RegistryError::TooLarge {
                what: "a blob",
                bytes_max: BLOB_MAX,
            });
        }
        // The writer went away after an error of its own, which is the one to report.
        if pieces.send(piece).await.is_err() {
            return Ok(Received::Part);
        }
    }
}

impl Session {
    /// Continues the file of an upload; what is in it counts.
    fn open(path: PathBuf) -> io::Result<Session> {
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut length = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            length += count as u64;
        }
        Ok(Session {
            path,
            file,
            length,
            hash,
        })
    }

    fn take(&mut self, mut queue: mpsc::Receiver<Bytes>) -> io::Result<()> {
        while let Some(piece) = queue.blocking_recv() {
            if let Err(error) = self.file.write_all(&piece) {
                // As if the piece had not come, so that length and digest stay true.
                self.file.set_len(self.length)?;
                self.file.seek(SeekFrom::Start(self.length))?;
                return Err(error);
            }
            self.hash.update(&piece);
            self.length += piece.len() as u64;
        }
        Ok(())
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
        let guard = session.try_lock_owned();
        guard.map(Writing).map_err(|_| RegistryError::UploadBusy)
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
            let session = writing.0;
            let found = Digest::from_sha256(session.hash.clone().finalize().into());
            if found != stated {
                shared.end_upload(&id)?;
                return Err(RegistryError::OtherDigest { stated, found });
            }
            let _stays = shared
                .removal
                .read()
                .expect("no holder of this lock panics");
            let keep = || {
                let blob = shared.layout.blob(found);
                if !blob.exists() {
                    session.file.sync_all()?;
                    rename_durably(&session.path, &blob)?;
                }
                shared.link(&repository, found)
            };
            keep().map_err(RegistryError::disk("keep a blob"))?;
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
