//! The one door from a configuration as given to a specification as obeyed.

mod container;
mod field;
mod health;
mod process;
mod service;
mod size;
mod storage;

use std::collections::BTreeMap;

use mayfly_machine::{
    GuestSize, MachineSpec, RestartMode, RestartPolicy, Rights, Schedule, Signal, StopSpec,
};
use mayfly_types::{ImageRef, MachineId};

use crate::config::{MachineConfig, Restart, StopConfig};
pub use field::InvalidConfig;
use field::{At, absent_if_empty};

/// The signals that may end a machine.
const STOP_SIGNALS: [&str; 7] = [
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM",
];

impl TryFrom<&MachineConfig> for MachineSpec {
    type Error = InvalidConfig;

    /// Holds every rule of a machine's configuration; the first that is broken is the error. Images are not yet pinned.
    fn try_from(config: &MachineConfig) -> Result<Self, InvalidConfig> {
        let at = At::root("config");
        check_combinations(config, &at)?;
        storage::check(config, &at)?;
        health::check_metrics(config, &at)?;
        let containers = container::containers(config, &at)?;
        let image = match (&config.image, containers.first()) {
            (_, Some(first)) => first.image.clone(),
            (image, None) => self::image(image.as_ref(), &at.field("image"))?,
        };
        Ok(MachineSpec {
            image,
            size: size::size(config, &at)?,
            init: process::init(config.init.as_ref(), &at.field("init"))?,
            env: environment(config.env.as_ref(), &at.field("env"))?,
            files: process::files(config.files.as_deref(), &at.field("files"))?,
            processes: process::processes(config.processes.as_deref(), &at.field("processes"))?,
            containers,
            restart: restart(config.restart.as_ref(), &at.field("restart"))?.unwrap_or_default(),
            stop: stop(config.stop_config.as_ref(), &at.field("stop_config"))?.unwrap_or_default(),
            auto_destroy: config.auto_destroy.unwrap_or(false),
            schedule: schedule(config, &at)?,
            standbys: standbys(config, &at)?,
            rootfs: storage::rootfs(config, &at)?,
            mounts: storage::mounts(config, &at)?,
            dns: process::dns(config.dns.as_ref(), &at.field("dns"))?,
            metadata: metadata(config, &at)?,
            services: service::services(config.services.as_deref(), &at.field("services"))?,
            checks: health::checks(config, &at)?,
            statics: service::statics(config.statics.as_deref(), &at.field("statics"))?,
            rights: Rights::Ordinary,
        })
    }
}

impl MachineConfig {
    /// The machine's size alone, by the same rules as [`MachineConfig::check`].
    pub fn size_of_guest(&self) -> Result<GuestSize, InvalidConfig> {
        size::size(self, &At::root("config"))
    }

    /// The configuration with every rule held: see the conversion to [`MachineSpec`].
    ///
    /// # Errors
    /// The first field that breaks a rule, with what it allows.
    pub fn check(&self) -> Result<MachineSpec, InvalidConfig> {
        MachineSpec::try_from(self)
    }
}

fn check_combinations(config: &MachineConfig, at: &At) -> Result<(), InvalidConfig> {
    let set = |list: Option<usize>| list.is_some_and(|count| count > 0);
    let containers = set(config.containers.as_ref().map(Vec::len));
    if containers && set(config.processes.as_ref().map(Vec::len)) {
        return at
            .field("processes")
            .refuse("cannot be combined with config.containers");
    }
    let standby = set(config.standbys.as_ref().map(Vec::len));
    if standby && set(config.services.as_ref().map(Vec::len)) {
        return at
            .field("services")
            .refuse("must be empty for a standby, which takes no traffic");
    }
    if standby && absent_if_empty(config.schedule.as_ref()).is_some() {
        return at
            .field("schedule")
            .refuse("cannot be combined with config.standbys");
    }
    Ok(())
}

fn image(text: Option<&String>, at: &At) -> Result<ImageRef, InvalidConfig> {
    let Some(text) = absent_if_empty(text) else {
        return at.refuse("is required: name an image, such as \"nginx\" or \"registry/app:tag\"");
    };
    text.parse().or_else(|error| at.refuse(error))
}

fn environment(
    env: Option<&BTreeMap<String, String>>,
    at: &At,
) -> Result<BTreeMap<String, String>, InvalidConfig> {
    let env = env.cloned().unwrap_or_default();
    for (name, value) in &env {
        variable_name(name, at)?;
        if value.contains('\0') {
            return at.field(name).refuse("must not contain a NUL character");
        }
    }
    Ok(env)
}

fn variable_name(name: &str, at: &At) -> Result<(), InvalidConfig> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return at.refuse(format!(
            "has the variable name {name:?}: a name is not empty and contains neither = nor NUL"
        ));
    }
    Ok(())
}

fn restart(restart: Option<&Restart>, at: &At) -> Result<Option<RestartPolicy>, InvalidConfig> {
    let Some(restart) = restart else {
        return Ok(None);
    };
    let policy = restart
        .policy
        .as_deref()
        .filter(|policy| !policy.is_empty());
    let mode = match policy {
        None | Some("on-failure") => RestartMode::OnFailure,
        Some("always") => RestartMode::Always,
        Some("no") => RestartMode::No,
        Some(_) => {
            return at.field("policy").one_of(&["no", "on-failure", "always"]);
        }
    };
    let max_retries = restart
        .max_retries
        .map(|count| at.field("max_retries").within(count, 0, 1_000_000))
        .transpose()?;
    Ok(Some(RestartPolicy { mode, max_retries }))
}

fn stop(stop: Option<&StopConfig>, at: &At) -> Result<Option<StopSpec>, InvalidConfig> {
    let Some(stop) = stop else {
        return Ok(None);
    };
    let unset = StopSpec::default();
    let signal = match absent_if_empty(stop.signal.as_ref()) {
        None => unset.signal,
        Some(name) if STOP_SIGNALS.contains(&name.as_str()) => {
            name.parse::<Signal>().or_else(|error| at.refuse(error))?
        }
        Some(_) => return at.field("signal").one_of(&STOP_SIGNALS),
    };
    let patience = stop.timeout.map_or(unset.patience, |timeout| timeout.0);
    if patience > StopSpec::PATIENCE_MAX {
        return at.field("timeout").refuse(format!(
            "must be at most {}s",
            StopSpec::PATIENCE_MAX.as_secs()
        ));
    }
    Ok(Some(StopSpec { signal, patience }))
}

fn schedule(config: &MachineConfig, at: &At) -> Result<Option<String>, InvalidConfig> {
    let Some(schedule) = absent_if_empty(config.schedule.as_ref()) else {
        return Ok(None);
    };
    if let Err(error) = schedule.parse::<Schedule>() {
        return at
            .field("schedule")
            .refuse(format!("is no schedule: {error}"));
    }
    Ok(Some(schedule.clone()))
}

fn standbys(config: &MachineConfig, at: &At) -> Result<Vec<MachineId>, InvalidConfig> {
    let standbys = config.standbys.as_deref().unwrap_or_default();
    let at = at.field("standbys");
    standbys
        .iter()
        .enumerate()
        .map(|(index, id)| id.parse().or_else(|error| at.index(index).refuse(error)))
        .collect()
}

fn metadata(config: &MachineConfig, at: &At) -> Result<BTreeMap<String, String>, InvalidConfig> {
    let metadata = config.metadata.clone().unwrap_or_default();
    if metadata.keys().any(String::is_empty) {
        return at.field("metadata").refuse("must not have an empty key");
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests;
