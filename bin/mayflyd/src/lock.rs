use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};

/// The right to be the one daemon of a data directory, held as long as the value lives.
///
/// The kernel frees it with the process, however that ends; the number in the file is only for people.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes the lock, or says who holds it.
    pub(crate) fn take(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("mayflyd.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok();
            anyhow::bail!(
                "mayflyd already runs on {} (pid {}); stop it with `mayfly down --data-dir {}`, or use another --data-dir",
                data_dir.display(),
                holder.trim(),
                data_dir.display()
            );
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_learns_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDirLock::take(dir.path()).unwrap();
        let refused = DataDirLock::take(dir.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(held);
        DataDirLock::take(dir.path()).unwrap();
    }
}
