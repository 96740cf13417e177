use std::time::Duration;

use mayfly_control::AutoscalePace;
use serde::Deserialize;

use crate::config::some_duration;

/// How fast numbers of machines follow the load; the file's shape.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AutoscaleSection {
    #[serde(deserialize_with = "some_duration")]
    busy_for: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    quiet_for: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    cool_down: Option<Duration>,
}

pub(crate) fn autoscale_pace(section: &AutoscaleSection) -> anyhow::Result<AutoscalePace> {
    let usual = AutoscalePace::default();
    let pace = AutoscalePace {
        busy_for: section.busy_for.unwrap_or(usual.busy_for),
        quiet_for: section.quiet_for.unwrap_or(usual.quiet_for),
        cool_down: section.cool_down.unwrap_or(usual.cool_down),
    };
    // Edges say how busy they are every two seconds.
    for (key, time) in [("busy_for", pace.busy_for), ("quiet_for", pace.quiet_for)] {
        anyhow::ensure!(
            time >= Duration::from_secs(2),
            "autoscale.{key} must be 2s or more"
        );
    }
    Ok(pace)
}
