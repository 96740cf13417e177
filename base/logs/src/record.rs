use std::borrow::Cow;
use std::fmt;

use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The machine's own output.
    App,
    /// What the platform says about the machine.
    Runner,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Source::App => "app",
            Source::Runner => "runner",
        })
    }
}

/// A line to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub at: Timestamp,
    pub source: Source,
    /// `stdout`, `stderr`, or empty for the platform's own.
    pub stream: &'a str,
    /// The container's name in a machine that has several.
    pub container: Option<&'a str>,
    /// Without the line end.
    pub message: &'a str,
}

/// A line as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// From 1, one more for each line of the machine.
    pub seq: u64,
    pub at: Timestamp,
    pub source: Source,
    pub stream: String,
    pub container: Option<String>,
    pub message: String,
}

/// A record's JSON. Times are milliseconds: shorter, and cheap for the machine's monitor.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored<'a> {
    pub(crate) seq: u64,
    at: i64,
    source: Source,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    container: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl<'a> Stored<'a> {
    pub(crate) fn new(seq: u64, line: &Line<'a>) -> Self {
        Stored {
            seq,
            at: line.at.as_millis(),
            source: line.source,
            stream: line.stream.into(),
            container: line.container.map(Cow::from),
            message: line.message.into(),
        }
    }
}

impl From<Stored<'_>> for Record {
    fn from(stored: Stored<'_>) -> Self {
        Record {
            seq: stored.seq,
            at: Timestamp::from_millis(stored.at),
            source: stored.source,
            stream: stored.stream.into_owned(),
            container: stored.container.map(Cow::into_owned),
            message: stored.message.into_owned(),
        }
    }
}
