use std::time::Duration;

use mayfly_control::BuilderSettings;
use mayfly_machine::{CpuKind, GuestSize};
use serde::Deserialize;

use crate::config::some_duration;

/// The file's `[builder]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BuilderSection {
    cpus: Option<u32>,
    memory_mib: Option<u32>,
    disk_gib: Option<u32>,
    #[serde(deserialize_with = "some_duration")]
    idle: Option<Duration>,
}

const DISK_GIB_MAX: u32 = 1000;

/// # Errors
/// A size that no machine can have.
pub(crate) fn builder_settings(section: BuilderSection) -> anyhow::Result<BuilderSettings> {
    let usual = BuilderSettings::default();
    let settings = BuilderSettings {
        cpus: section.cpus.unwrap_or(usual.cpus),
        memory_mib: section.memory_mib.unwrap_or(usual.memory_mib),
        disk_gib: section.disk_gib.unwrap_or(usual.disk_gib),
        idle: section.idle.unwrap_or(usual.idle),
    };
    let size = GuestSize {
        cpu_kind: CpuKind::Performance,
        cpus: settings.cpus,
        memory_mib: settings.memory_mib,
    };
    size.check()
        .map_err(|error| anyhow::anyhow!("builder: {error}"))?;
    anyhow::ensure!(
        (1..=DISK_GIB_MAX).contains(&settings.disk_gib),
        "builder.disk_gib: 1 to {DISK_GIB_MAX}"
    );
    anyhow::ensure!(
        settings.idle >= Duration::from_secs(5),
        "builder.idle: at least 5s"
    );
    Ok(settings)
}
