use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::binaries;

/// Runs `mayfly` as a user with a home directory of their own and nothing else in the environment.
#[derive(Clone, Debug)]
pub struct CliRunner {
    home: PathBuf,
}

/// What a run of the command line left behind.
#[derive(Clone, Debug)]
pub struct CliAnswer {
    /// The command, for messages.
    pub command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl CliRunner {
    pub fn at_home(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into() }
    }

    /// A prepared `mayfly` command, for tests that need its pipes.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binaries().join("mayfly"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("RUST_BACKTRACE", "1")
            .current_dir(&self.home);
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> CliAnswer {
        self.run_with_input(arguments, "")
    }

    /// Runs with `input` on a standard input that is no terminal.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &str,
    ) -> CliAnswer {
        let mut command = self.command();
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shown = command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let mut child = command.spawn().expect("mayfly can be started");
        // The program need not read it: a broken pipe is fine.
        child
            .stdin
            .take()
            .expect("was asked for")
            .write_all(input.as_bytes())
            .ok();
        let output = wait_with_limit(child, &shown);
        CliAnswer {
            command: format!("mayfly {shown}"),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }
}

/// Longer than any command of a test may take; what hangs is a defect and must not hang the tests.
const COMMAND_PATIENCE: Duration = Duration::from_secs(300);

/// Collects what the command says; kills it when it hangs.
fn wait_with_limit(child: Child, shown: &str) -> Output {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (done, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || done.send(child.wait_with_output()));
        match ended.recv_timeout(COMMAND_PATIENCE) {
            Ok(output) => output.expect("its output can be read"),
            Err(_) => {
                kill_process(pid.expect("a child has a pid"), Signal::KILL).ok();
                panic!("`mayfly {shown}` hangs");
            }
        }
    })
}

impl CliAnswer {
    /// Standard output, given that the command succeeded.
    ///
    /// # Panics
    /// With the command and everything it said if it did not.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(
            self.code,
            Some(0),
            "`{}` failed\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.stdout,
            self.stderr
        );
        &self.stdout
    }

    /// Standard output as JSON, given that the command succeeded.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| {
            panic!(
                "`{}` printed no JSON ({error}): {}",
                self.command, self.stdout
            )
        })
    }

    /// Standard error, given that the command failed.
    #[track_caller]
    pub fn refused(&self) -> &str {
        assert!(
            self.code.is_some_and(|code| code != 0),
            "`{}` ended with {:?}, an error was expected\n{}",
            self.command,
            self.code,
            self.stdout
        );
        &self.stderr
    }
}
