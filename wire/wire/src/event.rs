use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A page of the event log, oldest first; `next` is what to read after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventPage {
    pub events: Vec<LoggedEvent>,
    pub next: i64,
}

/// One change of intent or reality.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoggedEvent {
    pub seq: i64,
    pub at: Timestamp,
    pub actor: String,
    pub kind: String,
    pub org: Option<String>,
    pub app: Option<String>,
    pub machine_id: Option<String>,
    pub cause: String,
    pub before: Value,
    pub after: Value,
}
