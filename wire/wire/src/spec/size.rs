use mayfly_machine::{CpuKind, GuestSize};

use super::field::{At, InvalidConfig, absent_if_empty};
use crate::config::MachineConfig;
use crate::suggest::closest;

/// The machine's size: `guest` wins over the deprecated preset `size`; what neither says is the smallest.
pub(super) fn size(config: &MachineConfig, at: &At) -> Result<GuestSize, InvalidConfig> {
    let preset = match absent_if_empty(config.size.as_ref()) {
        Some(name) => Some(preset(name, &at.field("size"))?),
        None => None,
    };
    let at = at.field("guest");
    let Some(guest) = &config.guest else {
        return Ok(preset.unwrap_or_default());
    };
    if guest.gpus.is_some_and(|count| count != 0) {
        return at
            .field("gpus")
            .refuse("must be 0: hosts have no GPUs to give");
    }
    if absent_if_empty(guest.gpu_kind.as_ref()).is_some() {
        return at
            .field("gpu_kind")
            .refuse("must be empty: hosts have no GPUs to give");
    }
    let unset = preset.unwrap_or_default();
    let cpu_kind = match guest.cpu_kind.as_deref() {
        None | Some("") => unset.cpu_kind,
        Some("shared") => CpuKind::Shared,
        Some("performance") => CpuKind::Performance,
        Some(_) => return at.field("cpu_kind").one_of(&["shared", "performance"]),
    };
    let cpus = match guest.cpus {
        None | Some(0) => unset.cpus,
        Some(count) => at.field("cpus").within(count, 1, 1024)?,
    };
    let least = cpu_kind.memory_rule_mib().0 * cpus;
    let memory_mib = match guest.memory_mb {
        None | Some(0) => preset.map_or(least, |preset| preset.memory_mib.max(least)),
        Some(mib) => at.field("memory_mb").within(mib, 1, 16 << 20)?,
    };
    let size = GuestSize {
        cpu_kind,
        cpus,
        memory_mib,
    };
    let size = size.check().map_err(|error| InvalidConfig {
        field: format!("config.{}", error.field),
        rule: format!("{} is not allowed: {}", error.value, error.rule),
    })?;
    if let Some(most) = guest.max_memory_mb.filter(|most| *most != 0)
        && most < i64::from(size.memory_mib)
    {
        return at
            .field("max_memory_mb")
            .refuse("must not be less than config.guest.memory_mb");
    }
    Ok(size)
}

fn preset(name: &str, at: &At) -> Result<GuestSize, InvalidConfig> {
    if let Some(size) = GuestSize::preset(name) {
        return Ok(size);
    }
    let names: Vec<String> = GuestSize::presets().map(|(name, _)| name).collect();
    let meant = closest(name, names.iter().map(String::as_str))
        .map_or_else(String::new, |meant| format!(" (did you mean \"{meant}\"?)"));
    at.refuse(format!("must be one of {}{meant}", names.join(", ")))
}
