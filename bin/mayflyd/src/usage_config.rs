use std::time::Duration;

use serde::Deserialize;

use crate::config::some_duration;

/// How much is measured of what machines use, before sizes are advised; the file's shape.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UsageSection {
    #[serde(deserialize_with = "some_duration")]
    measured_every: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    enough: Option<Duration>,
}

/// The section, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsageConfig {
    pub(crate) measured_every: Duration,
    /// Sizes are advised once a machine was measured for so long.
    pub(crate) enough: Duration,
}

const MEASURED_EVERY: Duration = Duration::from_secs(15);
const ENOUGH: Duration = Duration::from_secs(3600);

impl UsageConfig {
    pub(crate) fn check(section: &UsageSection) -> anyhow::Result<Self> {
        let measured_every = section.measured_every.unwrap_or(MEASURED_EVERY);
        anyhow::ensure!(
            (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&measured_every),
            "usage.measured_every must be from 1s to 10m"
        );
        Ok(Self {
            measured_every,
            enough: section.enough.unwrap_or(ENOUGH),
        })
    }
}
