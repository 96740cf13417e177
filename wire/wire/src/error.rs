use serde::{Deserialize, Serialize};

/// The body of every answer above 299.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: String,
    /// A word for programs, where clients know one: `insufficient_capacity`, `name_taken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}
