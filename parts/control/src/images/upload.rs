use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use futures_util::StreamExt;
use http::StatusCode;
use mayfly_runtime::Entropy;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tracing::error;

use crate::error::ApiError;

/// Bytes of one upload.
const UPLOAD_MAX: u64 = 64 << 30;

/// Uploads at once; each holds a file.
const UPLOADS_MAX: usize = 8;

/// The directory where bodies wait that are too large for memory.
#[derive(Clone)]
pub(crate) struct Uploads {
    directory: PathBuf,
    places: Arc<Semaphore>,
    entropy: Arc<dyn Entropy>,
}

/// A received file; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Upload(PathBuf);

impl Upload {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            error!(error = %error, "an upload's file stays behind until the next start");
        }
    }
}

impl Uploads {
    /// Makes `directory`, empty: what an earlier process left in it was never taken in.
    pub(crate) fn open(directory: PathBuf, entropy: Arc<dyn Entropy>) -> std::io::Result<Self> {
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&directory)?,
        }
        Ok(Self {
            directory,
            places: Arc::new(Semaphore::new(UPLOADS_MAX)),
            entropy,
        })
    }

    /// Writes a body to a file. Cancelling removes the file.
    pub(crate) async fn receive(&self, body: Body) -> Result<Upload, ApiError> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("busy: {UPLOADS_MAX} uploads are under way"),
            )
            .retry_after(5));
        };
        let name: String = self
            .entropy
            .bytes::<8>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let upload = Upload(self.directory.join(name));
        let mut file = File::create_new(upload.path()).await.map_err(failed)?;
        let mut pieces = body.into_data_stream();
        let mut length = 0_u64;
        while let Some(piece) = pieces.next().await {
            let piece =
                piece.map_err(|_| ApiError::unreadable("the body ended before it was complete"))?;
            length += piece.len() as u64;
            if length > UPLOAD_MAX {
                return Err(ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the body is longer than {UPLOAD_MAX} bytes"),
                ));
            }
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(upload)
    }
}

fn failed(cause: std::io::Error) -> ApiError {
    match cause.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "the host's disk is full")
        }
        _ => {
            error!(error = %cause, "an upload could not be written");
            ApiError::internal()
        }
    }
}
