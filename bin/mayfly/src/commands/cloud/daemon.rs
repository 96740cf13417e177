//! The daemon of one data directory, seen from outside: its status file, its process, its log.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use mayfly_types::Secret;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use super::program_beside;
use crate::failure::Failure;

/// How often a starting or ending daemon is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// The end of a log that an error shows.
const LOG_TAIL_BYTES: u64 = 4096;

pub(super) struct DataDir(PathBuf);

/// What `mayflyd.json` says of a living daemon.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) pid: i32,
    pub(super) phase: String,
    pub(super) step: Option<String>,
    pub(super) api_url: Option<String>,
    /// Where it joined the cloud of another server.
    pub(super) joined_at: Option<String>,
    pub(super) app_url: Option<String>,
    pub(super) app_tls_url: Option<String>,
    /// Region and address of every edge.
    pub(super) edges: Vec<(String, String)>,
}

impl Status {
    /// Where the API of its cloud is, as far as it says.
    pub(super) fn place(&self) -> Option<&str> {
        self.api_url.as_deref().or(self.joined_at.as_deref())
    }
}

pub(super) enum Found {
    Running(Status),
    Nothing,
}

impl DataDir {
    /// Makes the directory, readable by root only, if there is none.
    pub(super) fn make(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .and_then(|()| path.canonicalize())
            .map(Self)
            .with_context(|| format!("make the data directory {}", path.display()))
    }

    pub(super) fn existing(path: &Path) -> anyhow::Result<Self> {
        match path.canonicalize() {
            Ok(path) => Ok(Self(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::new(format!(
                "there is no data directory {}",
                path.display()
            ))
            .remedy("Name the directory the cloud was started with: --data-dir DIRECTORY.")
            .into()),
            Err(error) => Err(error).with_context(|| format!("look at {}", path.display())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn shown(&self) -> std::path::Display<'_> {
        self.0.display()
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.0.join("mayflyd.log")
    }

    /// The first user's token.
    pub(super) fn admin_token(&self) -> anyhow::Result<Secret> {
        let path = self.0.join("admin-token");
        let token = fs::read_to_string(&path)
            .with_context(|| format!("read the first user's token in {}", path.display()))?;
        Ok(Secret::new(token.trim()))
    }

    /// The daemon of this directory, if its process lives. A status file whose process is gone counts as nothing.
    pub(super) fn find_daemon(&self) -> anyhow::Result<Found> {
        let path = self.0.join("mayflyd.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => {
                return Err(error).with_context(|| format!("read {}", path.display()));
            }
        };
        let status = parse_status(&text).with_context(|| format!("parse {}", path.display()))?;
        Ok(if is_mayflyd(status.pid) {
            Found::Running(status)
        } else {
            Found::Nothing
        })
    }

    /// Starts the daemon in a session of its own, tells `progress` what it does, returns once it serves.
    pub(super) async fn start_daemon(
        &self,
        options: &[OsString],
        join_token: Option<&Secret>,
        mut progress: impl FnMut(&str),
    ) -> anyhow::Result<Status> {
        let program = program_beside("mayflyd")?;
        let log_path = self.log_path();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&log_path)
            .with_context(|| format!("open {}", log_path.display()))?;
        let log_start = log.metadata().map_or(0, |metadata| metadata.len());
        let mut command = Command::new(&program);
        if let Some(token) = join_token {
            // Not an option: those are for everybody to see.
            command.env("MAYFLY_JOIN_TOKEN", token.reveal());
        }
        let mut child = command
            .args(["run", "--own-session", "--data-dir"])
            .arg(&self.0)
            .args(options)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        progress(&format!("starting mayflyd (pid {}) …", child.id()));
        let mut last_step = None;
        loop {
            if let Some(ended) = child.try_wait().context("look at mayflyd")? {
                let said = tail(&log_path, log_start);
                return Err(
                    Failure::new(format!("mayflyd did not start ({ended})\n{said}"))
                        .remedy(format!("The whole log is in {}.", log_path.display()))
                        .into(),
                );
            }
            if let Some(status) = self.status_of(&child)? {
                if status.phase == "ready" {
                    return Ok(status);
                }
                if status.step != last_step {
                    if let Some(step) = &status.step {
                        progress(&format!("{step} …"));
                    }
                    last_step = status.step;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn status_of(&self, child: &Child) -> anyhow::Result<Option<Status>> {
        Ok(match self.find_daemon()? {
            Found::Running(status) if u32::try_from(status.pid) == Ok(child.id()) => Some(status),
            _ => None,
        })
    }

    /// Asks the daemon to end and waits until its process is gone. Machines run on.
    pub(super) async fn end_daemon(&self, status: &Status) -> anyhow::Result<()> {
        let pid = Pid::from_raw(status.pid).context("the status file names no process")?;
        kill_process(pid, Signal::TERM).context("ask mayflyd to end")?;
        while test_kill_process(pid).is_ok() && is_mayflyd(status.pid) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Stops all machines that run without a daemon; returns how many there were.
    pub(super) async fn halt_machines(&self) -> anyhow::Result<u64> {
        let program = program_beside("mayflyd")?;
        let output = tokio::process::Command::new(&program)
            .args(["halt", "--data-dir"])
            .arg(&self.0)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .await
            .with_context(|| format!("run {} halt", program.display()))?;
        anyhow::ensure!(
            output.status.success(),
            "stop the machines of {}",
            self.shown()
        );
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .context("read how many machines were stopped")
    }
}

fn parse_status(text: &[u8]) -> anyhow::Result<Status> {
    let status: Value = serde_json::from_slice(text)?;
    let word = |key: &str| status[key].as_str().map(str::to_owned);
    Ok(Status {
        pid: status["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok())
            .context("`pid` is missing")?,
        phase: word("phase").context("`phase` is missing")?,
        step: word("step"),
        api_url: word("api_url"),
        joined_at: word("joined_at"),
        app_url: word("app_url"),
        app_tls_url: word("app_tls_url"),
        edges: status["edges"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|edge| {
                let word = |key: &str| edge[key].as_str().map(str::to_owned);
                Some((word("region")?, word("address")?))
            })
            .collect(),
    })
}

/// Whether the process lives and is a daemon of ours; its number may have been given to another program since.
fn is_mayflyd(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let dead = stat
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('Z'));
    name.trim_end() == "mayflyd" && !dead
}

/// What was appended to the log after `start`, at most its last few kilobytes.
fn tail(path: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            start.max(end.saturating_sub(LOG_TAIL_BYTES)),
        ))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_of_a_dead_daemon_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::make(directory.path()).unwrap();
        assert!(matches!(data_dir.find_daemon().unwrap(), Found::Nothing));
        // This test's own process lives but is no mayflyd.
        let text = format!("{{\"pid\":{},\"phase\":\"ready\"}}", std::process::id());
        fs::write(directory.path().join("mayflyd.json"), text).unwrap();
        assert!(matches!(data_dir.find_daemon().unwrap(), Found::Nothing));
        fs::write(directory.path().join("mayflyd.json"), "{}").unwrap();
        let error = data_dir.find_daemon().err().unwrap();
        assert!(format!("{error:#}").contains("pid"), "{error:#}");
    }

    #[test]
    fn only_the_new_part_of_a_log_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "old\nnew\n").unwrap();
        assert_eq!(tail(&path, 4), "new");
        assert_eq!(tail(&directory.path().join("none"), 0), "");
    }
}
