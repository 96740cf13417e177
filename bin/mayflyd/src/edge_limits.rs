use std::collections::HashMap;
use std::time::Duration;

use mayfly_edge::{HttpSettings, Limit, Limits};
use serde::Deserialize;

use crate::config::some_duration;

/// The file's `[edge.limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EdgeLimitsSection {
    #[serde(deserialize_with = "some_duration")]
    idle_timeout: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    headers_timeout: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    queue_timeout: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    refused_timeout: Option<Duration>,
    header_bytes: Option<usize>,
    connections: Option<u32>,
    client: ClientSection,
    apps: HashMap<String, ClientSection>,
}

/// What one client address may ask of one app.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClientSection {
    requests_per_second: Option<u32>,
    connections: Option<u32>,
}

/// The longest pause that makes sense; a typing mistake rather than a wish above it.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn http_settings(section: EdgeLimitsSection) -> anyhow::Result<HttpSettings> {
    let usual = HttpSettings::default();
    let time = |name: &str, given: Option<Duration>, usual: Duration| {
        let span = given.unwrap_or(usual);
        anyhow::ensure!(
            (Duration::from_millis(100)..=TIMEOUT_MAX).contains(&span),
            "edge.limits.{name} must be from 100ms to 24h"
        );
        Ok(span)
    };
    let header_bytes = section.header_bytes.unwrap_or(usual.header_bytes);
    anyhow::ensure!(
        (1024..=HttpSettings::HEADER_BYTES_MAX).contains(&header_bytes),
        "edge.limits.header_bytes must be from 1024 to {}",
        HttpSettings::HEADER_BYTES_MAX
    );
    let mut apps = HashMap::new();
    for (name, client) in section.apps {
        let limit = limit(&client, &format!("edge.limits.apps.{name}"))?;
        apps.insert(name, limit);
    }
    anyhow::ensure!(
        section.connections != Some(0),
        "edge.limits.connections must be 1 or more"
    );
    Ok(HttpSettings {
        idle_patience: time("idle_timeout", section.idle_timeout, usual.idle_patience)?,
        head_patience: time(
            "headers_timeout",
            section.headers_timeout,
            usual.head_patience,
        )?,
        queue_patience: time("queue_timeout", section.queue_timeout, usual.queue_patience)?,
        refused_patience: time(
            "refused_timeout",
            section.refused_timeout,
            usual.refused_patience,
        )?,
        header_bytes,
        connections: section.connections.or(usual.connections),
        limits: Limits {
            default: limit(&section.client, "edge.limits.client")?,
            apps,
        },
    })
}

fn limit(section: &ClientSection, at: &str) -> anyhow::Result<Limit> {
    for (name, value) in [
        ("requests_per_second", section.requests_per_second),
        ("connections", section.connections),
    ] {
        anyhow::ensure!(
            value != Some(0),
            "{at}.{name} must be 1 or more; leave it out for no limit"
        );
    }
    Ok(Limit {
        requests_per_second: section.requests_per_second,
        connections: section.connections,
    })
}
