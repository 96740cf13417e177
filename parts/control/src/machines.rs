//! `/v1/apps/<app>/machines` and everything below it.

pub(crate) mod checks;
pub(crate) mod create;
pub(crate) mod destroy;
pub(crate) mod exec;
pub(crate) mod exec_stream;
pub(crate) mod lease;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod memory;
pub(crate) mod metadata;
pub(crate) mod observe;
mod place;
pub(crate) mod prepare;
pub(crate) mod update;
mod view;
pub(crate) mod wait;
mod wind_down;

use axum::Json;
use serde_json::{Value, json};

/// The answer of calls that have nothing more to say.
pub(crate) fn ok() -> Json<Value> {
    Json(json!({ "ok": true }))
}
