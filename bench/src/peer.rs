//! Runs the commands of peers in a private mount namespace.
//!
//! crun 1.8 refuses hosts that mount cgroup v1 controllers beside a cgroup2 hierarchy; where that is so, the peer's
//! namespace goes without the latter. The cloud under measurement keeps the host's own view.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use serde_json::{Value, json};

/// The argument that makes this program serve as the peer's runner.
pub(crate) const ROLE: &str = "--run-peer-commands";

const HYBRID_MOUNT: &str = "/sys/fs/cgroup/unified";

/// A child in its own mount namespace that runs one command at a time and times it.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// A runner in a new mount namespace.
    pub(crate) fn start() -> Result<Peer> {
        let mut unshare = Command::new("unshare");
        unshare.arg("--mount");
        Peer::spawn(unshare)
    }

    /// Another runner in the same namespace, for commands at the same time.
    pub(crate) fn sibling(&self) -> Result<Peer> {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--mount=/proc/{}/ns/mnt", self.child.id()));
        Peer::spawn(nsenter)
    }

    fn spawn(mut prefix: Command) -> Result<Peer> {
        let program = std::env::current_exe().context("find this program")?;
        let mut child = prefix
            .arg(program)
            .arg(ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the peer's runner")?;
        let input = child.stdin.take().context("the runner has an input")?;
        let output = BufReader::new(child.stdout.take().context("the runner has an output")?);
        Ok(Peer {
            child,
            input,
            output,
        })
    }

    /// Runs a command to its end and returns how long that took.
    ///
    /// # Errors
    /// If it cannot be run or exits with another code than 0; the message holds what it wrote.
    pub(crate) fn run(&mut self, argv: &[&str]) -> Result<Duration> {
        writeln!(self.input, "{}", json!(argv))?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).context("read the runner's answer")?;
        ensure!(
            answer["code"] == 0,
            "{} failed: {}",
            argv.join(" "),
            answer["stderr"]
        );
        Ok(Duration::from_nanos(
            answer["nanoseconds"].as_u64().unwrap_or_default(),
        ))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The runner ends at the end of its input; a killed one ends as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The runner: a JSON array of words per line in, a JSON object per line out.
pub(crate) fn serve() -> Result<()> {
    match unmount(HYBRID_MOUNT, UnmountFlags::DETACH) {
        // Not a hybrid host, or a sibling has left it already.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
        Err(error) => return Err(error).context("leave the hybrid cgroup hierarchy"),
    }
    let errors = tempfile::NamedTempFile::new()?;
    for line in std::io::stdin().lock().lines() {
        let argv: Vec<String> = serde_json::from_str(&line?)?;
        errors.as_file().set_len(0)?;
        let began = Instant::now();
        // Output goes to a file: a detached container may inherit and keep a pipe open.
        let status = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.reopen()?)
            .status();
        let nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (code, stderr) = match status {
            Ok(status) => (
                status.code().unwrap_or(-1),
                std::fs::read_to_string(errors.path())?,
            ),
            Err(error) => (-1, error.to_string()),
        };
        println!(
            "{}",
            json!({ "code": code, "nanoseconds": nanoseconds, "stderr": stderr })
        );
    }
    Ok(())
}
