use std::io;
use std::path::PathBuf;

use mayfly_types::ErrorKind;

/// What went wrong with a log directory.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{action} {path}", path = path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A finished line inside a segment is not a record. Writers repair only the end of the last segment.
    #[error("read line {seq} of {path}", path = path.display())]
    Corrupt {
        path: PathBuf,
        seq: u64,
        #[source]
        source: serde_json::Error,
    },
}

impl LogError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            LogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            LogError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ErrorKind::Exhausted
            }
            LogError::Io { .. } | LogError::Corrupt { .. } => ErrorKind::Internal,
        }
    }
}

/// Names the action and the path of an I/O failure.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &std::path::Path) -> Result<T, LogError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &std::path::Path) -> Result<T, LogError> {
        self.map_err(|source| LogError::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        })
    }
}
