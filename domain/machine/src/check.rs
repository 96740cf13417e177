//! How a machine's checks stand.

use serde::{Deserialize, Serialize};

/// What is known of a check: the words clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    Passing,
    /// Not probed yet, or not listening yet right after the start.
    Warning,
    Critical,
}

impl CheckStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckStatus::Passing => "passing",
            CheckStatus::Warning => "warning",
            CheckStatus::Critical => "critical",
        }
    }
}

/// A check went from one status to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTurn {
    /// `servicecheck-<nn>-<http|tcp>-<port>` for checks of services, the given name for others.
    pub name: String,
    pub from: CheckStatus,
    pub to: CheckStatus,
    /// What the probe that changed it saw.
    pub output: String,
}
