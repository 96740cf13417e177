use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The program that monitors a machine and is its first process.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mayfly-init"));
const PREFIX: &str = "mayfly-init-";

/// Lays the program into `directory` under a name of its own contents, so that machines of an older daemon keep running
/// theirs and all machines of this one share its pages. Removes the others: whoever runs them has them open.
pub(crate) fn install(directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let name = format!("{PREFIX}{:016x}", fingerprint(PROGRAM));
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let other = entry.file_name();
        if other.to_string_lossy().starts_with(PREFIX) && other != *name {
            fs::remove_file(entry.path())?;
        }
    }
    let path = directory.join(&name);
    if fs::read(&path).is_ok_and(|bytes| bytes == PROGRAM) {
        return Ok(path);
    }
    let beside = directory.join(format!("{name}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(PROGRAM)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, &path)?;
    Ok(path)
}

/// FNV-1a: names versions, protects nothing.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_runs_and_replaces_older_ones() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mayfly-init-0123"), "old").unwrap();
        let path = install(directory.path()).unwrap();
        assert_eq!(install(directory.path()).unwrap(), path);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let output = std::process::Command::new(&path)
            .arg("--version")
            .output()
            .unwrap();
        assert!(output.stdout.starts_with(b"mayfly-init "));
    }
}
