use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use tracing::warn;

/// Where directories go that nobody may find any more; a thread deletes them, since that can take seconds.
///
/// What is left when the process ends is deleted after the next start.
#[derive(Clone, Debug)]
pub(crate) struct Trash {
    directory: PathBuf,
    queue: mpsc::Sender<PathBuf>,
}

impl Trash {
    /// Uses `directory`, which must be on the filesystem of what is thrown away.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Trash> {
        fs::create_dir_all(&directory)?;
        let (queue, thrown) = mpsc::channel::<PathBuf>();
        for entry in fs::read_dir(&directory)? {
            let _ = queue.send(entry?.path()); // the receiver is right above
        }
        // Ends when the last clone is dropped and the queue is empty.
        thread::Builder::new()
            .name("trash".to_owned())
            .spawn(move || thrown.iter().for_each(|path| delete(&path)))?;
        Ok(Trash { directory, queue })
    }

    /// Takes a file or directory out of sight at once; absent is success. `label` tells it from others.
    pub(crate) fn throw(&self, path: &Path, label: &str) -> io::Result<()> {
        let mut number = 0;
        loop {
            let hidden = self.directory.join(format!("{label}.{number}"));
            if hidden.exists() {
                number += 1;
                continue;
            }
            return match fs::rename(path, &hidden) {
                Ok(()) => {
                    let _ = self.queue.send(hidden); // or the next start finds it
                    Ok(())
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                // Somebody threw one of the same label meanwhile.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    number += 1;
                    continue;
                }
                Err(error) => Err(error),
            };
        }
    }
}

fn delete(path: &Path) {
    let deleted = match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match deleted {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "delete what a machine left");
        }
        _ => {}
    }
}
