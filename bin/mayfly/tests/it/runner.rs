//! Runs the program as a user without a terminal does.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::Server;

/// A user with a home of their own, in a directory of their own.
pub(crate) struct User {
    home: TempDir,
    variables: Vec<(String, String)>,
    program: PathBuf,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl User {
    /// Somebody who never signed in.
    pub(crate) fn stranger() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_mayfly")),
        }
    }

    /// Somebody with a token for `server`.
    pub(crate) fn of(server: &Server) -> Self {
        Self::stranger()
            .with("FLY_FLAPS_BASE_URL", &server.url())
            .with("FLY_API_TOKEN", "secret")
    }

    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// The same user, calling the program by another name.
    pub(crate) fn calling(mut self, name: &str) -> Self {
        let link = self.home.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mayfly"), &link).unwrap();
        self.program = link;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn command<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a line of words without quotes.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_words(&line.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn run_words(&self, words: &[&str]) -> Ran {
        let output = self.command(words).output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a line with `input` on standard input.
    pub(crate) fn run_with_input(&self, line: &str, input: &[u8]) -> Ran {
        let mut child = self
            .command(line.split(' '))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// What a command that succeeded printed.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }

    /// What a command that failed said, with nothing on standard output.
    #[track_caller]
    pub(crate) fn failed(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        &self.stderr
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Compares with the text in `tests/golden/`; MAYFLY_REWRITE_GOLDEN=1 writes it anew, for review as a diff.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("MAYFLY_REWRITE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let promised = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, promised, "{}", path.display());
}
