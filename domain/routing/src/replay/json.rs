//! The JSON form: a body of `application/vnd.fly.replay+json`.

use std::time::Duration;

use serde::Deserialize;

use super::cache_rule::{self, CacheOrder, CacheRule};
use super::header::timeout;
use super::{InvalidReplay, Replay, Transform, app, fallback, instance, regions, state};

/// The media type of the answer that carries a replay in its body.
pub const REPLAY_JSON: &str = "application/vnd.fly.replay+json";
/// The longest such body, in bytes.
pub const REPLAY_JSON_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    region: Option<String>,
    instance: Option<String>,
    prefer_instance: Option<String>,
    app: Option<String>,
    state: Option<String>,
    #[serde(default)]
    elsewhere: Option<bool>,
    timeout: Option<String>,
    fallback: Option<String>,
    transform: Option<TransformForm>,
    cache: Option<CacheForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransformForm {
    path: Option<String>,
    #[serde(default)]
    delete_headers: Vec<String>,
    #[serde(default)]
    set_headers: Vec<HeaderForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderForm {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheForm {
    prefix: Option<String>,
    ttl: Option<u64>,
    allow_bypass: Option<bool>,
    invalidate: Option<bool>,
}

impl Replay {
    /// Reads the body of an answer whose media type is [`REPLAY_JSON`].
    ///
    /// # Errors
    /// The first thing that cannot be understood. What concerns the cache alone is kept in [`Replay::cache`].
    pub fn from_json(body: &[u8]) -> Result<Replay, InvalidReplay> {
        if body.len() > REPLAY_JSON_MAX {
            return Err(InvalidReplay::JsonTooLong);
        }
        let form: Form =
            serde_json::from_slice(body).map_err(|error| InvalidReplay::Json(error.to_string()))?;
        let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let read = Replay {
            regions: text(&form.region).as_deref().map(regions).transpose()?,
            instance: text(&form.instance)
                .map(|value| instance("instance", &value))
                .transpose()?,
            prefer_instance: text(&form.prefer_instance)
                .map(|value| instance("prefer_instance", &value))
                .transpose()?,
            app: text(&form.app).as_deref().map(app).transpose()?,
            state: text(&form.state).as_deref().map(state).transpose()?,
            elsewhere: form.elsewhere.unwrap_or_default(),
            timeout: form.timeout.as_deref().map(timeout).transpose()?,
            fallback: form.fallback.as_deref().map(fallback).transpose()?,
            transform: form.transform.map_or(Ok(Transform::default()), |form| {
                let set = form
                    .set_headers
                    .into_iter()
                    .map(|header| (header.name, header.value))
                    .collect();
                Transform::new(form.path, form.delete_headers, set)
            })?,
            cache: form.cache.map_or(Ok(None), CacheForm::order),
        };
        read.checked()
    }
}

impl CacheForm {
    fn order(self) -> Result<Option<CacheOrder>, InvalidReplay> {
        if self.invalidate == Some(true) {
            return Ok(Some(CacheOrder::Invalidate));
        }
        let Some(prefix) = self.prefix else {
            return Ok(None);
        };
        let shown = self.ttl.map(|ttl| ttl.to_string()).unwrap_or_default();
        Ok(Some(CacheOrder::Keep(CacheRule {
            pattern: prefix.parse()?,
            ttl: cache_rule::ttl("cache.ttl", &shown, self.ttl.map(Duration::from_secs))?,
            allow_bypass: self.allow_bypass.unwrap_or_default(),
        })))
    }
}
