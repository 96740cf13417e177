//! A machine's configuration as flags change it.
//!
//! The configuration stays the JSON document the cloud gave: what a flag does not name is sent back untouched, also
//! what this version has never heard of.

mod files;
mod ports;
mod size;
mod volume;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

pub(crate) use size::{SizeFlags, memory_mib};

pub(crate) type MachineConfig = Map<String, Value>;

/// The flags `machine run`, `create` and `update` share.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigFlags {
    /// External port and handlers of a service: port[:machinePort][/protocol[:handler...]]. For example --port 80/tcp,
    /// --port 443:8080/tcp:http:tls or --port 5432/tcp:pg_tls. The handler '-' removes the port's service
    #[arg(short, long = "port", value_name = "SPEC", value_delimiter = ',')]
    pub(crate) ports: Vec<String>,
    /// Environment variable as NAME=VALUE. May be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Metadata as NAME=VALUE. May be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<String>,
    /// Command to use instead of the image's ENTRYPOINT
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// Machine configuration to start from: a JSON file, or the JSON itself
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) machine_config: Option<String>,
    /// Kernel argument. May be given several times
    #[arg(long = "kernel-arg", value_name = "ARG")]
    pub(crate) kernel_args: Vec<String>,
    /// Start the machine by itself: hourly, daily, weekly, monthly, or a cron expression such as '*/15 * * * *'
    #[arg(long, value_name = "WHEN")]
    pub(crate) schedule: Option<String>,
    /// Leave the machine out of the private network's names
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(crate) skip_dns_registration: Option<bool>,
    /// Start the stopped machine when a request for it arrives (the cloud does so unless told otherwise)
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(crate) autostart: Option<bool>,
    /// Stop the machine when no requests come: off, stop or suspend
    #[arg(long, num_args = 0..=1, default_missing_value = "stop", require_equals = true, value_name = "HOW")]
    pub(crate) autostop: Option<String>,
    /// Whether to start the machine again when its program ends: no, on-failure or always
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
    /// Machines this one takes over for when their host or they themselves fail, by id, separated by commas
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) standby_for: Option<Vec<String>>,
    /// File to write into the machine from one here, as /path/in/machine=local/path. May be given several times
    #[arg(long, value_name = "PATH=FILE")]
    pub(crate) file_local: Vec<String>,
    /// File to write into the machine with a text as content, as /path/in/machine=TEXT. May be given several times
    #[arg(long, value_name = "PATH=TEXT")]
    pub(crate) file_literal: Vec<String>,
    /// File to write into the machine from a secret with base64 content, as /path/in/machine=SECRET. May be given
    /// several times
    #[arg(long, value_name = "PATH=SECRET")]
    pub(crate) file_secret: Vec<String>,
    /// Whether the root filesystem outlives a stop: never, restart or always
    #[arg(long, value_name = "WHEN")]
    pub(crate) rootfs_persist: Option<String>,
    /// Size of the root filesystem, in GB or such as 5gb. 0 unsets it
    #[arg(long, value_name = "SIZE")]
    pub(crate) rootfs_size: Option<String>,
    /// Size of the swap space, in MB or such as 1gb
    #[arg(long, value_name = "SIZE")]
    pub(crate) swap_size: Option<String>,
    /// Signal that asks the program to end, such as SIGTERM (default SIGINT)
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) kill_signal: Option<String>,
    /// How long the program may take to end before it is killed, such as 30s (default 5s, at most 300s)
    #[arg(long, value_name = "DURATION")]
    pub(crate) kill_timeout: Option<String>,
    /// Volume to mount, as VOLUME:/path[:OPTIONS]: an id, or the name of one that is free. OPTIONS are the size in GB of a new
    /// one if none is free, or extend_threshold_percent=, add_size_gb= and size_gb_limit=
    #[arg(short, long, value_name = "VOLUME:PATH")]
    pub(crate) volume: Vec<String>,
    /// Container the image and files are for (default `app`, else the first)
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    #[command(flatten)]
    pub(crate) size: SizeFlags,
}

/// `--rm`, kept beside the shared flags because an update does not have it.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct RemoveFlag {
    /// Destroy the machine by itself when its program ends; it is not restarted then unless --restart says so
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) rm: bool,
}

impl ConfigFlags {
    /// Changes `config` by every flag that was given.
    ///
    /// # Errors
    /// A flag's value is not of its form, or a local file cannot be read; the error names the flag.
    pub(crate) fn apply(&self, config: &mut MachineConfig) -> anyhow::Result<()> {
        if let Some(source) = &self.machine_config {
            merge(config, machine_config(source)?);
        }
        self.size.apply(config)?;
        self.apply_init(config)?;
        self.apply_rootfs(config)?;
        set_pairs(config, "env", &self.env, "--env")?;
        set_pairs(config, "metadata", &self.metadata, "--metadata")?;
        if let Some(schedule) = &self.schedule {
            set_or_remove(config, "schedule", schedule);
        }
        if let Some(skip) = self.skip_dns_registration {
            entry(config, "dns").insert("skip_registration".to_owned(), Value::from(skip));
        }
        self.apply_services(config)?;
        self.apply_restart(config)?;
        self.apply_stop(config);
        if let Some(primaries) = &self.standby_for {
            set_standbys(config, primaries);
        }
        volume::apply(config, &self.volume)?;
        let flags = [
            ("--file-local", &self.file_local),
            ("--file-literal", &self.file_literal),
            ("--file-secret", &self.file_secret),
        ];
        files::apply(config, &flags)
    }

    fn apply_init(&self, config: &mut MachineConfig) -> anyhow::Result<()> {
        if let Some(entrypoint) = &self.entrypoint {
            let words = words(entrypoint, "--entrypoint")?;
            entry(config, "init").insert("entrypoint".to_owned(), Value::from(words));
        }
        if !self.kernel_args.is_empty() {
            let args = Value::from(self.kernel_args.clone());
            entry(config, "guest").insert("kernel_args".to_owned(), args);
        }
        if let Some(size) = &self.swap_size {
            let swap_mib = memory_mib(size).context("--swap-size")?;
            entry(config, "init").insert("swap_size_mb".to_owned(), Value::from(swap_mib));
        }
        Ok(())
    }

    fn apply_rootfs(&self, config: &mut MachineConfig) -> anyhow::Result<()> {
        if let Some(persist) = &self.rootfs_persist {
            one_of("--rootfs-persist", persist, &["never", "restart", "always"])?;
            entry(config, "rootfs").insert("persist".to_owned(), Value::from(persist.as_str()));
        }
        if let Some(size) = &self.rootfs_size {
            let gib = size::in_unit(size, 1 << 30).context("--rootfs-size")?;
            let rootfs = entry(config, "rootfs");
            if gib == 0 {
                rootfs.remove("size_gb");
            } else {
                rootfs.insert("size_gb".to_owned(), Value::from(gib));
            }
        }
        Ok(())
    }

    fn apply_services(&self, config: &mut MachineConfig) -> anyhow::Result<()> {
        if !self.ports.is_empty() {
            ports::apply(config, &self.ports)?;
        }
        let autostop = self.autostop.as_deref().map(autostop).transpose()?;
        let services = config.get_mut("services").and_then(Value::as_array_mut);
        for service in services.into_iter().flatten() {
            if let Some(autostop) = &autostop {
                service["autostop"] = autostop.clone();
            }
            if let Some(autostart) = self.autostart {
                service["autostart"] = Value::from(autostart);
            }
        }
        Ok(())
    }

    fn apply_restart(&self, config: &mut MachineConfig) -> anyhow::Result<()> {
        match self.restart.as_deref() {
            None => {
                let removed_on_exit = config.get("auto_destroy") == Some(&Value::from(true));
                if removed_on_exit && !config.contains_key("restart") {
                    config.insert("restart".to_owned(), json!({ "policy": "no" }));
                }
            }
            Some("") => {
                config.remove("restart");
            }
            Some(policy) => {
                let policy = if policy == "on-fail" {
                    "on-failure"
                } else {
                    policy
                };
                one_of("--restart", policy, &["no", "on-failure", "always"])?;
                entry(config, "restart").insert("policy".to_owned(), Value::from(policy));
            }
        }
        Ok(())
    }

    fn apply_stop(&self, config: &mut MachineConfig) {
        if let Some(signal) = &self.kill_signal {
            let signal = Value::from(signal_name(signal));
            entry(config, "stop_config").insert("signal".to_owned(), signal);
        }
        if let Some(timeout) = &self.kill_timeout {
            let plain = timeout.bytes().all(|byte| byte.is_ascii_digit());
            let timeout = if plain {
                format!("{timeout}s")
            } else {
                timeout.clone()
            };
            entry(config, "stop_config").insert("timeout".to_owned(), Value::from(timeout));
        }
    }

    /// Sets the image, of the machine or of the container the flags choose.
    pub(crate) fn set_image(&self, config: &mut MachineConfig, image: &str) -> anyhow::Result<()> {
        let containers = config.get_mut("containers").and_then(Value::as_array_mut);
        let Some(containers) = containers.filter(|containers| !containers.is_empty()) else {
            config.insert("image".to_owned(), Value::from(image));
            return Ok(());
        };
        let wanted = self.container.as_deref().unwrap_or("app");
        let named = |container: &Value| container.get("name") == Some(&Value::from(wanted));
        let at = match containers.iter().position(named) {
            Some(at) => at,
            None if self.container.is_none() => 0,
            None => bail!("--container: the machine has no container `{wanted}`"),
        };
        containers[at]["image"] = Value::from(image);
        Ok(())
    }
}

/// Sets the machines this one stands by for; the program reads them from its environment too.
pub(crate) fn set_standbys(config: &mut MachineConfig, primaries: &[String]) {
    let primaries: Vec<&str> = primaries
        .iter()
        .map(String::as_str)
        .filter(|id| !id.is_empty())
        .collect();
    if primaries.is_empty() {
        config.remove("standbys");
        entry(config, "env").remove("FLY_STANDBY_FOR");
        return;
    }
    let text = Value::from(primaries.join(","));
    entry(config, "env").insert("FLY_STANDBY_FOR".to_owned(), text);
    config.insert("standbys".to_owned(), Value::from(primaries));
}

/// Sets the program's arguments, instead of the image's CMD.
pub(crate) fn set_command(config: &mut MachineConfig, command: Option<Vec<String>>) {
    match command {
        Some(words) => {
            entry(config, "init").insert("cmd".to_owned(), Value::from(words));
        }
        None => {
            entry(config, "init").remove("cmd");
        }
    }
}

/// Splits a command line as a shell does, without running one.
pub(crate) fn words(text: &str, flag: &str) -> anyhow::Result<Vec<String>> {
    shlex::split(text).with_context(|| format!("{flag}: a quote is not closed in `{text}`"))
}

/// `term`, `TERM` and `SIGTERM` are the same; numbers stay numbers.
pub(crate) fn signal_name(text: &str) -> String {
    let upper = text.trim().to_uppercase();
    let number = upper.bytes().all(|byte| byte.is_ascii_digit());
    if number || upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    }
}

/// `NAME=VALUE` words as a map; the last of a name wins.
pub(crate) fn pairs(words: &[String], flag: &str) -> anyhow::Result<BTreeMap<String, String>> {
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Failure::new(format!("{flag}: `{word}` is not NAME=VALUE")).into()),
        })
        .collect()
}

/// Variables of an app, as `NAME=VALUE` words. Names that begin with `FLY_` are the platform's:
/// <https://fly.io/docs/reference/configuration/#the-env-variables-section>.
pub(crate) fn variables(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let variables = pairs(words, "--env")?;
    match variables.keys().find(|name| name.starts_with("FLY_")) {
        None => Ok(variables),
        Some(name) => Err(Failure::new(format!(
            "--env {name}: names that begin with FLY_ are set by the platform"
        ))
        .remedy("Choose another name.")
        .into()),
    }
}

fn set_pairs(
    config: &mut MachineConfig,
    key: &str,
    given: &[String],
    flag: &str,
) -> anyhow::Result<()> {
    if given.is_empty() {
        return Ok(());
    }
    let map = entry(config, key);
    for (name, value) in pairs(given, flag)? {
        map.insert(name, Value::from(value));
    }
    Ok(())
}

fn set_or_remove(config: &mut MachineConfig, key: &str, value: &str) {
    if value.is_empty() {
        config.remove(key);
    } else {
        config.insert(key.to_owned(), Value::from(value));
    }
}

/// The object under `key`, made if it is missing.
fn entry<'a>(config: &'a mut MachineConfig, key: &str) -> &'a mut Map<String, Value> {
    let value = config.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("made an object above")
}

fn autostop(how: &str) -> anyhow::Result<Value> {
    Ok(match how {
        "true" | "stop" => Value::from(true),
        "false" | "off" => Value::from(false),
        "suspend" => Value::from("suspend"),
        _ => {
            one_of("--autostop", how, &["off", "stop", "suspend"])?;
            Value::Null
        }
    })
}

fn one_of(flag: &str, value: &str, allowed: &[&str]) -> anyhow::Result<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let allowed = allowed.join(", ");
    Err(Failure::new(format!("{flag}: `{value}` is not one of {allowed}")).into())
}

/// A configuration from JSON text, or from the file it names.
fn machine_config(source: &str) -> anyhow::Result<MachineConfig> {
    let text = if source.trim_start().starts_with('{') {
        source.to_owned()
    } else {
        let path = Path::new(source);
        std::fs::read_to_string(path)
            .with_context(|| format!("--machine-config: read {}", path.display()))?
    };
    serde_json::from_str(&text).context("--machine-config: it is not a JSON object")
}

/// Puts `over` on top of `config`: objects are merged, everything else is replaced.
fn merge(config: &mut MachineConfig, over: MachineConfig) {
    for (key, value) in over {
        match (config.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            (_, value) => {
                config.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
