use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use mayfly_edge_api::Directory;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Changes with the meaning of the file's content; one of another version is passed over.
const VERSION: u32 = 1;

/// The directory as it was last published, in a file that only its owner reads: it holds private keys.
#[derive(Debug)]
pub(super) struct Snapshot {
    path: PathBuf,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    directory: &'a Directory,
}

#[derive(Deserialize)]
struct Found {
    version: u32,
    directory: Directory,
}

impl Snapshot {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn read(&self) -> Option<Directory> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return self.passed_over(&error),
        };
        match serde_json::from_slice::<Found>(&text) {
            Ok(found) if found.version == VERSION => Some(found.directory),
            Ok(_) => None,
            Err(error) => self.passed_over(&error),
        }
    }

    fn passed_over(&self, error: &dyn std::error::Error) -> Option<Directory> {
        warn!(path = %self.path.display(), %error, "passing over the snapshot of the directory");
        None
    }

    /// Replaces the file; after a crash it is the old or the new one. Blocks on the disk.
    pub(super) fn write(&self, directory: &Directory) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        let written = Written {
            version: VERSION,
            directory,
        };
        file.write_all(&serde_json::to_vec(&written)?)?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)?;
        let folder = self.path.parent().expect("a file lies in a folder");
        File::open(folder)?.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use mayfly_edge_api::ServerCertificate;
    use mayfly_types::Secret;

    use super::*;

    #[test]
    fn comes_back_as_it_was_written_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::at(folder.path().join("directory.json"));
        assert_eq!(snapshot.read(), None);
        let directory = Directory {
            certificates: vec![Arc::new(ServerCertificate {
                hostnames: vec!["*.a.test".to_owned()],
                chain: "chain".to_owned(),
                key: Secret::new("key"),
            })],
            ..Directory::default()
        };
        snapshot.write(&directory).unwrap();
        assert_eq!(snapshot.read(), Some(directory));
        let mode = fs::metadata(&snapshot.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_read_is_no_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::at(folder.path().join("directory.json"));
        for text in [
            "",
            "{\"version\":1}",
            "{\"version\":0,\"directory\":{\"apps\":[],\"certificates\":[],\"challenges\":[]}}",
        ] {
            fs::write(&snapshot.path, text).unwrap();
            assert_eq!(snapshot.read(), None, "{text}");
        }
    }
}
