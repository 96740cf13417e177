use serde::{Deserialize, Serialize};

/// What sort of failure an error is; it alone decides whether to retry and which HTTP status a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The named thing does not exist, or the caller may not know that it does.
    NotFound,
    /// The thing exists but its state, a lease or another writer forbids this now.
    Conflict,
    /// The request itself is wrong and will stay wrong.
    Invalid,
    /// The caller is known and may not do this.
    Denied,
    /// Capacity, quota or disk is used up.
    Exhausted,
    /// A part that is needed does not answer; trying again later can succeed.
    Unavailable,
    /// Our own fault.
    Internal,
}

impl ErrorKind {
    /// Whether the same call can succeed later without anybody changing it.
    pub fn is_transient(self) -> bool {
        matches!(self, ErrorKind::Unavailable | ErrorKind::Exhausted)
    }
}
