use std::fmt;

use serde::{Deserialize, Serialize};

use crate::burst::BASELINE_PERMILLE;

/// Whether CPUs are shared with a burst budget or dedicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuKind {
    Shared,
    Performance,
}

impl CpuKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            CpuKind::Shared => "shared",
            CpuKind::Performance => "performance",
        }
    }

    /// The CPU counts that exist for this kind: <https://fly.io/docs/machines/guides-examples/machine-sizing/>.
    pub const fn cpu_counts(self) -> &'static [u32] {
        match self {
            CpuKind::Shared => &[1, 2, 4, 6, 8],
            CpuKind::Performance => &[1, 2, 4, 6, 8, 10, 12, 14, 16, 32, 64, 128],
        }
    }

    /// Least and most memory per CPU, and the step memory must be a multiple of, in MiB.
    pub const fn memory_rule_mib(self) -> (u32, u32, u32) {
        match self {
            CpuKind::Shared => (256, 2048, 256),
            CpuKind::Performance => (2048, 8192, 1024),
        }
    }
}

/// How large a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSize {
    pub cpu_kind: CpuKind,
    pub cpus: u32,
    pub memory_mib: u32,
}

/// A size that does not exist, with the field at fault and what it allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value} is not allowed: {rule}")]
pub struct InvalidSize {
    pub field: &'static str,
    pub value: u32,
    pub rule: String,
}

impl Default for GuestSize {
    fn default() -> Self {
        GuestSize {
            cpu_kind: CpuKind::Shared,
            cpus: 1,
            memory_mib: 256,
        }
    }
}

impl GuestSize {
    /// The presets users name (`shared-cpu-1x`, `performance-2x` …), smallest first.
    pub fn presets() -> impl Iterator<Item = (String, GuestSize)> {
        let shared = CpuKind::Shared
            .cpu_counts()
            .iter()
            .map(|cpus| (CpuKind::Shared, *cpus, 256));
        let performance = CpuKind::Performance.cpu_counts()[..9]
            .iter()
            .map(|cpus| (CpuKind::Performance, *cpus, 2048));
        shared.chain(performance).map(|(cpu_kind, cpus, per_cpu)| {
            let size = GuestSize {
                cpu_kind,
                cpus,
                memory_mib: per_cpu * cpus,
            };
            (size.to_string(), size)
        })
    }

    /// The preset called `name`.
    pub fn preset(name: &str) -> Option<GuestSize> {
        GuestSize::presets()
            .find(|(preset, _)| preset == name)
            .map(|(_, size)| size)
    }

    /// What its CPUs may always do, in thousandths of one: all of them, or the baseline of shared ones.
    pub fn steady_millicpus(self) -> u32 {
        match self.cpu_kind {
            CpuKind::Shared => (f64::from(self.cpus) * BASELINE_PERMILLE) as u32,
            CpuKind::Performance => self.cpus * 1000,
        }
    }

    /// Checks the size against the sizes that exist.
    ///
    /// # Errors
    /// The field at fault and its rule; the first fault wins, CPUs before memory.
    pub fn check(self) -> Result<GuestSize, InvalidSize> {
        let kind = self.cpu_kind.as_str();
        if !self.cpu_kind.cpu_counts().contains(&self.cpus) {
            let counts: Vec<String> = self
                .cpu_kind
                .cpu_counts()
                .iter()
                .map(u32::to_string)
                .collect();
            let rule = format!("{kind} CPUs come as {}", counts.join(", "));
            return Err(InvalidSize {
                field: "guest.cpus",
                value: self.cpus,
                rule,
            });
        }
        let (least, most, step) = self.cpu_kind.memory_rule_mib();
        let (least, most) = (least * self.cpus, most * self.cpus);
        if !(least..=most).contains(&self.memory_mib) || !self.memory_mib.is_multiple_of(step) {
            let rule = format!(
                "{} {kind} CPUs take {least} to {most} MiB in steps of {step}",
                self.cpus
            );
            return Err(InvalidSize {
                field: "guest.memory_mb",
                value: self.memory_mib,
                rule,
            });
        }
        Ok(self)
    }
}

impl fmt::Display for GuestSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cpu_kind {
            CpuKind::Shared => write!(f, "shared-cpu-{}x", self.cpus),
            CpuKind::Performance => write!(f, "performance-{}x", self.cpus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_size_and_found_by_name() {
        assert_eq!(GuestSize::presets().count(), 14);
        for (name, size) in GuestSize::presets() {
            assert_eq!(size.check(), Ok(size), "{name}");
            assert_eq!(GuestSize::preset(&name), Some(size));
        }
    }

    #[test]
    fn wrong_sizes_name_the_field() {
        let size = |cpu_kind, cpus, memory_mib| GuestSize {
            cpu_kind,
            cpus,
            memory_mib,
        };
        for (wrong, field) in [
            (size(CpuKind::Shared, 3, 768), "guest.cpus"),
            (size(CpuKind::Shared, 1, 128), "guest.memory_mb"),
            (size(CpuKind::Shared, 1, 2304), "guest.memory_mb"),
            (size(CpuKind::Shared, 1, 300), "guest.memory_mb"),
            (size(CpuKind::Performance, 1, 256), "guest.memory_mb"),
        ] {
            assert_eq!(wrong.check().unwrap_err().field, field, "{wrong:?}");
        }
    }
}
