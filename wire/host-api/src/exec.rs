use std::collections::BTreeMap;

use bytes::Bytes;
use mayfly_machine::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// A program to run inside a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub user: Option<String>,
    pub cwd: Option<String>,
    pub tty: Option<Terminal>,
    pub container: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    pub rows: u16,
    pub columns: u16,
}

/// A running program: what goes in, what comes out. The output ends with one [`ExecOutput::Exit`].
#[derive(Debug)]
pub struct ExecSession {
    pub input: mpsc::Sender<ExecInput>,
    pub output: mpsc::Receiver<ExecOutput>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecInput {
    Stdin(Bytes),
    StdinEnd,
    Resize(Terminal),
    Signal(Signal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutput {
    Stdout(Bytes),
    Stderr(Bytes),
    Exit(ExecExit),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecExit {
    Exited {
        code: i32,
    },
    Signaled {
        signal: i32,
    },
    Failed {
        reason: String,
    },
    /// The connection to the guest broke before the end was known.
    Lost,
}

/// One process of a machine, as `ps` of the Machines API reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// As the machine sees it.
    pub pid: u32,
    /// System and run time so far, in clock ticks.
    pub stime: u64,
    pub rtime: u64,
    pub command: String,
    pub directory: String,
    /// Clock ticks of CPU used.
    pub cpu: u64,
    /// Resident bytes.
    pub rss: u64,
    pub listen_sockets: Vec<Socket>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// `tcp` or `tcp6`.
    pub proto: String,
    /// `0.0.0.0:8080`, `[::]:8080`.
    pub address: String,
}
