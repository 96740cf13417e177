use anyhow::{Context as _, bail};
use clap::Args;
use mayfly_machine::GuestSize;
use mayfly_wire::Guest;
use serde_json::Value;

use crate::failure::Failure;
use crate::program;

use super::{MachineConfig, entry, one_of};

/// How large a machine is to be.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SizeFlags {
    /// Size of the machine, such as shared-cpu-2x; see `platform vm-sizes`
    #[arg(long, value_name = "NAME")]
    pub(crate) vm_size: Option<String>,
    /// Number of CPUs
    #[arg(long, alias = "cpus", value_name = "COUNT")]
    pub(crate) vm_cpus: Option<u32>,
    /// Kind of CPUs: shared or performance
    #[arg(long, alias = "vm-cpukind", value_name = "KIND")]
    pub(crate) vm_cpu_kind: Option<String>,
    /// Memory, in MB or such as 1gb
    #[arg(long, alias = "memory", value_name = "SIZE")]
    pub(crate) vm_memory: Option<String>,
}

impl SizeFlags {
    /// Changes the configuration's guest; one without a guest gets the smallest.
    pub(crate) fn apply(&self, config: &mut MachineConfig) -> anyhow::Result<()> {
        let has_guest = config.get("guest").is_some_and(Value::is_object);
        let preset = match &self.vm_size {
            Some(name) => Some(preset(name)?),
            None if has_guest => None,
            None => Some(GuestSize::default()),
        };
        let guest = entry(config, "guest");
        if let Some(size) = preset {
            guest.insert("cpu_kind".to_owned(), Value::from(size.cpu_kind.as_str()));
            guest.insert("cpus".to_owned(), Value::from(size.cpus));
            guest.insert("memory_mb".to_owned(), Value::from(size.memory_mib));
        }
        if let Some(cpus) = self.vm_cpus {
            if cpus == 0 {
                bail!("--vm-cpus must be at least 1");
            }
            guest.insert("cpus".to_owned(), Value::from(cpus));
        }
        if let Some(kind) = &self.vm_cpu_kind {
            one_of("--vm-cpu-kind", kind, &["shared", "performance"])?;
            guest.insert("cpu_kind".to_owned(), Value::from(kind.as_str()));
        }
        if let Some(memory) = &self.vm_memory {
            let memory_mib = memory_mib(memory).context("--vm-memory")?;
            guest.insert("memory_mb".to_owned(), Value::from(memory_mib));
        }
        Ok(())
    }

    /// The size alone, if a flag names any of it.
    pub(crate) fn guest(&self) -> anyhow::Result<Option<Guest>> {
        let given = self.vm_size.is_some()
            || self.vm_cpus.is_some()
            || self.vm_cpu_kind.is_some()
            || self.vm_memory.is_some();
        if !given {
            return Ok(None);
        }
        let mut config = MachineConfig::new();
        self.apply(&mut config)?;
        let guest = config.remove("guest").unwrap_or_default();
        Ok(Some(serde_json::from_value(guest)?))
    }
}

fn preset(name: &str) -> anyhow::Result<GuestSize> {
    GuestSize::preset(name).ok_or_else(|| {
        let names: Vec<String> = GuestSize::presets().map(|(name, _)| name).collect();
        Failure::new(format!("--vm-size: there is no size `{name}`"))
            .remedy(format!(
                "Sizes are {}. See them with `{} platform vm-sizes`.",
                names.join(", "),
                program::name()
            ))
            .into()
    })
}

/// Mebibytes: a plain number, or one with a unit. Zero is refused.
pub(crate) fn memory_mib(text: &str) -> anyhow::Result<u64> {
    match in_unit(text, 1 << 20)? {
        0 => bail!("`{text}` is less than one MB"),
        mib => Ok(mib),
    }
}

/// A size in units of `unit` bytes: a plain number counts units, a suffix (`k`, `mb`, `GiB` …) says otherwise.
pub(super) fn in_unit(text: &str, unit: u64) -> anyhow::Result<u64> {
    let text = text.trim().to_lowercase();
    let digits =
        text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let factor: u64 = match text[digits.len()..].trim() {
        "" => unit,
        "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        other => bail!("`{other}` is not a unit of size; use mb or gb"),
    };
    let number: f64 = digits
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0 && *number < 1e9)
        .with_context(|| format!("`{text}` is not a size such as 512 or 1gb"))?;
    let units = number * factor as f64 / unit as f64;
    if units.fract() != 0.0 {
        bail!(
            "`{text}` is not a whole number of {} MB",
            (unit >> 20).max(1)
        );
    }
    Ok(units as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        for (text, mib) in [
            ("512", 512),
            ("512mb", 512),
            ("1gb", 1024),
            ("1.5 GiB", 1536),
            ("2048k", 2),
        ] {
            assert_eq!(memory_mib(text).unwrap(), mib, "{text}");
        }
        for wrong in ["", "0", "-1", "many", "1.3mb", "5parsecs", "nan", "1e300"] {
            assert!(memory_mib(wrong).is_err(), "{wrong}");
        }
        assert_eq!(in_unit("5", 1 << 30).unwrap(), 5);
        assert_eq!(in_unit("5gb", 1 << 30).unwrap(), 5);
    }
}
