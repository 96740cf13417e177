//! A cloud for one command or one CI job, of which nothing stays.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::daemon::{DataDir, Found};
use super::export::Exports;

/// A fresh directory below the one for temporary files.
pub(super) fn directory() -> anyhow::Result<PathBuf> {
    let parent = std::env::temp_dir();
    for number in 0_u32.. {
        let path = parent.join(format!("mayfly-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made.with_context(|| format!("make the directory {}", path.display()))?;
                return Ok(path);
            }
        }
    }
    unreachable!("some number is free")
}

/// Runs a command that finds the cloud by its variables, until it ends. Whoever asks us to end asks the command.
///
/// # Errors
/// The command cannot be started.
pub(super) async fn run(command: &[OsString], exports: &Exports) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        signal(SignalKind::interrupt()).context("listen for SIGINT")?,
    );
    let mut child = Command::new(program)
        .args(arguments)
        .envs(exports.pairs())
        .spawn()
        .with_context(|| format!("start {}", program.to_string_lossy()))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw);
    loop {
        tokio::select! {
            ended = child.wait() => return Ok(code(ended.context("wait for the command")?)),
            Some(()) = terminate.recv() => if let Some(pid) = pid {
                // One that has just ended is waited for above.
                let _ = kill_process(pid, Signal::TERM);
            },
            // A terminal asks the whole group, the command with it.
            Some(()) = interrupt.recv() => {}
        }
    }
}

/// As shells say it.
fn code(ended: ExitStatus) -> ExitCode {
    let signal = ended.signal().map(|signal| 128 + signal);
    let code = ended.code().or(signal).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Ends daemon and machines, then removes all the cloud kept.
pub(super) async fn remove(data_dir: &DataDir) -> anyhow::Result<()> {
    if let Found::Running(status) = data_dir.find_daemon()? {
        data_dir.end_daemon(&status).await?;
    }
    data_dir.halt_machines().await?;
    remove_directory(data_dir.path())
}

/// # Errors
/// It is not the data directory of a cloud.
pub(super) fn remove_directory(path: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        path.join("admin-token").is_file() && path.join("mayflyd.lock").exists(),
        "remove {}: it is not the directory of a cloud",
        path.display()
    );
    std::fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_cloud_kept_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let other = parent.path().join("other");
        std::fs::create_dir(&other).unwrap();
        remove_directory(&other).unwrap_err();
        assert!(other.is_dir());
        for file in ["admin-token", "mayflyd.lock"] {
            std::fs::write(other.join(file), "").unwrap();
        }
        remove_directory(&other).unwrap();
        assert!(!other.exists());
    }
}
