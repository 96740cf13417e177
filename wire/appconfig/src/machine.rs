//! From an app's configuration to its machines', one per process group.

mod guest;
mod one_off;
mod service;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mayfly_wire::{File, Init, MachineConfig, Mount, StopConfig, shell_split};

use crate::compose;
use crate::config::AppConfig;
use crate::problem::Problem;
use service::{machine_service, top_level_check};

pub(crate) use service::DEFAULT_PORT;

/// Metadata that says which group a machine is of.
const PROCESS_GROUP: &str = "fly_process_group";

/// Why there is no machine configuration for a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    #[error("there is no process group `{group}`; there are {known}")]
    UnknownGroup { group: String, known: String },
    #[error("{path} is not a command: a quotation is not closed")]
    Command { path: String },
    #[error("machine_config is not a machine configuration: {0}")]
    Base(String),
    #[error("{path} still names a local file")]
    NotInlined { path: String },
}

/// Why a configuration could not be made independent of the files around it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InlineError<E> {
    #[error("read the file that {key} names")]
    Read {
        key: String,
        #[source]
        error: E,
    },
    #[error("the Compose file asks for what containers of a machine cannot do")]
    Compose(Vec<Problem>),
}

impl AppConfig {
    /// Replaces what names local files by their content, so that the configuration means the same everywhere: files of
    /// machines, the base machine configuration, and a Compose file, whose services become its containers.
    ///
    /// `read` gets a path as it stands in the file.
    ///
    /// # Errors
    /// What `read` answers, with the path of the key that named the file; or what is wrong with the Compose file.
    pub fn inline<E>(
        &mut self,
        mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<(), InlineError<E>> {
        for (index, file) in self.files.iter_mut().flatten().enumerate() {
            if let Some(path) = file.local_path.take().filter(|path| !path.is_empty()) {
                let key = format!("files[{index}].local_path");
                let content = read(&path).map_err(|error| InlineError::Read { key, error })?;
                file.raw_value = Some(STANDARD.encode(content));
            }
        }
        if let Some(path) = self
            .base_machine_config()
            .filter(|text| !text.starts_with('{'))
        {
            let key = "machine_config".to_owned();
            let content = read(path).map_err(|error| InlineError::Read { key, error })?;
            self.machine_config = Some(String::from_utf8_lossy(&content).into_owned());
        }
        self.inline_compose(read)
    }

    fn inline_compose<E>(
        &mut self,
        mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<(), InlineError<E>> {
        let Some(section) = self.build.as_ref().and_then(|build| build.compose.as_ref()) else {
            return Ok(());
        };
        if self.base_machine_config().is_some() {
            return Ok(());
        }
        let named = section.file.as_deref().filter(|file| !file.is_empty());
        let key = || "build.compose.file".to_owned();
        let content = match named {
            Some(file) => read(file),
            None => {
                let [first, others @ ..] = compose::FILES;
                others
                    .iter()
                    .fold(read(first), |found, file| found.or_else(|_| read(file)))
            }
        };
        let content = content.map_err(|error| InlineError::Read { key: key(), error })?;
        let composed =
            compose::compose(&String::from_utf8_lossy(&content)).map_err(InlineError::Compose)?;
        let built = composed.built.clone();
        let containers = composed
            .with_files(read)
            .map_err(|error| InlineError::Read { key: key(), error })?;
        self.machine_config = Some(serde_json::json!({ "containers": containers }).to_string());
        if self.container_name().is_none() {
            self.container = built;
        }
        Ok(())
    }

    /// Puts the image of a release into a machine configuration: in place of the one container that gets it, and wherever
    /// an image is `.`.
    pub fn put_image(&self, machine: &mut MachineConfig, image: &str) {
        machine.image = Some(image.to_owned());
        let chosen = self.chosen_container(machine);
        for (index, container) in machine.containers.iter_mut().flatten().enumerate() {
            if Some(index) == chosen || container.image.as_deref() == Some(".") {
                container.image = Some(image.to_owned());
            }
        }
    }

    /// The container that gets the app's image, variables and files: the named one, else `app`, else the first.
    fn chosen_container(&self, machine: &MachineConfig) -> Option<usize> {
        let containers = machine.containers.as_deref()?;
        let called = |name: &str| {
            containers
                .iter()
                .position(|container| container.name.as_deref() == Some(name))
        };
        let named = self.container_name().and_then(called);
        named
            .or_else(|| called("app"))
            .or(Some(0))
            .filter(|index| *index < containers.len())
    }

    /// What a new or changed machine of the group shall be, before it has an image, a release and a volume.
    ///
    /// `existing` is the machine's configuration so far: what an app's configuration does not decide (its size without
    /// a `[[vm]]`, schedule, dns, standbys, containers …) stays as it is there, everything else is set anew.
    ///
    /// # Errors
    /// There is no such group, a command is no command line, or `machine_config` is none.
    pub fn machine_config(
        &self,
        group: &str,
        existing: Option<&MachineConfig>,
    ) -> Result<MachineConfig, MachineError> {
        if !self.groups().contains(&group) {
            return Err(MachineError::UnknownGroup {
                group: group.to_owned(),
                known: self.groups().join(", "),
            });
        }
        let mut machine = match (existing, self.base_machine_config()) {
            (Some(existing), None) => existing.clone(),
            (None, None) => MachineConfig::default(),
            (existing, Some(text)) => overlay(existing, text)?,
        };
        machine.init = self.init(group, machine.init.take())?;
        machine.env = Some(self.machine_env(group));
        machine.metadata = Some(metadata(group, machine.metadata.take()));
        machine.services = non_empty(self.services_of(group));
        machine.checks = self.checks_of(group);
        machine.mounts = self.mounts_of(group);
        machine.statics = non_empty(self.statics.clone().unwrap_or_default())
            .filter(|_| group == self.default_group());
        machine.metrics = self.metrics_of(group);
        machine.files = self.files_of(group)?;
        machine.restart = self.restart_of(group);
        machine.stop_config = self.stop_config();
        self.apply_guest(group, &mut machine);
        if let Some(index) = self.chosen_container(&machine) {
            let files = machine.files.take().unwrap_or_default();
            let env = self.env.clone().unwrap_or_default();
            if let Some(container) = machine
                .containers
                .as_mut()
                .and_then(|all| all.get_mut(index))
            {
                container.env.get_or_insert_default().extend(env);
                if !files.is_empty() {
                    container.files.get_or_insert_default().extend(files);
                }
            }
        }
        Ok(machine)
    }

    fn init(&self, group: &str, existing: Option<Init>) -> Result<Option<Init>, MachineError> {
        let experimental = self.experimental.clone().unwrap_or_default();
        let command = self
            .processes
            .as_ref()
            .and_then(|processes| processes.get(group));
        let path = format!("processes.{group}");
        let cmd = command_words(command.map_or("", String::as_str), &path)?;
        let existing = existing.unwrap_or_default();
        let init = Init {
            cmd: non_empty(cmd).or(experimental.cmd),
            entrypoint: experimental.entrypoint,
            exec: experimental.exec,
            swap_size_mb: self.swap_size_mb,
            tty: existing.tty,
            kernel_args: existing.kernel_args,
        };
        Ok(Some(init).filter(|init| *init != Init::default()))
    }

    fn machine_env(&self, group: &str) -> BTreeMap<String, String> {
        let mut env = self.env.clone().unwrap_or_default();
        env.insert("FLY_PROCESS_GROUP".to_owned(), group.to_owned());
        if let Some(region) = self
            .primary_region
            .as_ref()
            .filter(|region| !region.is_empty())
        {
            env.entry("PRIMARY_REGION".to_owned())
                .or_insert_with(|| region.clone());
        }
        env
    }

    fn services_of(&self, group: &str) -> Vec<mayfly_wire::Service> {
        self.all_services()
            .iter()
            .filter(|(_, service)| self.is_for(service.processes.as_ref(), group))
            .map(|(_, service)| machine_service(service))
            .collect()
    }

    fn checks_of(&self, group: &str) -> Option<BTreeMap<String, mayfly_wire::Check>> {
        let port = self
            .http_service
            .as_ref()
            .and_then(|service| service.internal_port);
        let checks: BTreeMap<_, _> = self
            .checks
            .iter()
            .flatten()
            .filter(|(_, check)| self.is_for(check.processes.as_ref(), group))
            .map(|(name, check)| (name.clone(), top_level_check(check, port)))
            .collect();
        Some(checks).filter(|checks| !checks.is_empty())
    }

    fn mounts_of(&self, group: &str) -> Option<Vec<Mount>> {
        let mounts = self.mounts.iter().flatten();
        let mounts = mounts.filter(|mount| self.is_for(mount.processes.as_ref(), group));
        non_empty(
            mounts
                .map(|mount| Mount {
                    name: mount.source.clone(),
                    path: mount.destination.clone(),
                    extend_threshold_percent: mount.auto_extend_size_threshold,
                    add_size_gb: mount.extend_by_gb(),
                    size_gb_limit: mount.extend_to_gb(),
                    ..Mount::default()
                })
                .collect(),
        )
    }

    fn metrics_of(&self, group: &str) -> Option<mayfly_wire::Metrics> {
        let mut metrics = self.metrics.iter().flatten();
        let metrics = metrics.find(|metrics| self.is_for(metrics.processes.as_ref(), group))?;
        Some(mayfly_wire::Metrics {
            port: metrics.port,
            path: metrics.path.clone(),
            https: metrics.https,
        })
    }

    fn files_of(&self, group: &str) -> Result<Option<Vec<File>>, MachineError> {
        let mut files = Vec::new();
        for (index, file) in self.files.iter().flatten().enumerate() {
            if !self.is_for(file.processes.as_ref(), group) {
                continue;
            }
            if file.local_path.is_some() {
                let path = format!("files[{index}].local_path");
                return Err(MachineError::NotInlined { path });
            }
            files.push(File {
                guest_path: file.guest_path.clone(),
                raw_value: file.raw_value.as_deref().map(in_base64),
                secret_name: file.secret_name.clone(),
                ..File::default()
            });
        }
        Ok(non_empty(files))
    }

    /// A policy without `processes` is for all groups; the last that fits wins.
    fn restart_of(&self, group: &str) -> Option<mayfly_wire::Restart> {
        let fits = |restart: &&crate::config::Restart| {
            let processes = restart.processes.iter().flatten();
            restart.processes.iter().flatten().count() == 0
                || processes.into_iter().any(|name| name == group)
        };
        let restart = self.restart.iter().flatten().rfind(fits)?;
        Some(mayfly_wire::Restart {
            policy: restart
                .policy
                .as_deref()
                .map(|policy| if policy == "never" { "no" } else { policy }.to_owned()),
            max_retries: restart.retries,
        })
    }

    fn stop_config(&self) -> Option<StopConfig> {
        let stop = StopConfig {
            timeout: self.kill_timeout,
            signal: self.kill_signal.as_deref().map(signal),
        };
        Some(stop).filter(|stop| *stop != StopConfig::default())
    }

    fn apply_guest(&self, group: &str, machine: &mut MachineConfig) {
        if let Some(vm) = self.vm(group) {
            machine.guest = Some(guest::guest(vm));
        }
        if let Some(id) = &self.host_dedication_id {
            machine.guest.get_or_insert_default().host_dedication_id = Some(id.clone());
        }
    }
}

/// A program that is stopped for good cannot end by itself: what is documented as SIGSTOP is a kill.
fn signal(name: &str) -> String {
    if name == "SIGSTOP" { "SIGKILL" } else { name }.to_owned()
}

/// The content of a file: base64 as documented, and what is none as it stands.
fn in_base64(text: &str) -> String {
    if is_base64(text) {
        text.trim().to_owned()
    } else {
        STANDARD.encode(text)
    }
}

pub(crate) fn is_base64(text: &str) -> bool {
    STANDARD.decode(text.trim()).is_ok()
}

/// The words of a command line; none for an empty one.
pub(crate) fn command_words(line: &str, path: &str) -> Result<Vec<String>, MachineError> {
    shell_split(line).map_err(|_| MachineError::Command {
        path: path.to_owned(),
    })
}

/// `machine_config` over what the machine is; its keys win.
fn overlay(existing: Option<&MachineConfig>, text: &str) -> Result<MachineConfig, MachineError> {
    let base = |error: &dyn std::fmt::Display| MachineError::Base(error.to_string());
    if !text.starts_with('{') {
        return Err(MachineError::NotInlined {
            path: "machine_config".to_owned(),
        });
    }
    let over: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| base(&error))?;
    let existing = existing.cloned().unwrap_or_default();
    let mut merged = serde_json::to_value(existing).map_err(|error| base(&error))?;
    for (key, value) in over {
        merged[key.as_str()] = value;
    }
    mayfly_wire::read_value(&merged).map_err(|error| base(&error))
}

fn metadata(group: &str, existing: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut metadata = existing.unwrap_or_default();
    metadata.insert("fly_platform_version".to_owned(), "v2".to_owned());
    metadata.insert(PROCESS_GROUP.to_owned(), group.to_owned());
    metadata
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
