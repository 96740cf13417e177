use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_appconfig::AppConfig;
use mayfly_control_store::Release;
use mayfly_deploy::{Rules, Strategy, Target, Unavailable};
use mayfly_machine::{CpuKind, GuestSize, Signal};
use mayfly_types::{OrgId, Region};
use mayfly_wire::{CreateRelease, MachineConfig, ServiceConcurrency};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::app_config;
use crate::error::ApiError;
use crate::volumes::size_gb;

/// How long one machine may take, unless the release says otherwise: as documented for `wait_timeout`.
const WAIT: Duration = Duration::from_secs(5 * 60);
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How a release is carried out, as it is stored with it. Everything has a default, so that older rows stay readable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    pub(crate) strategy: String,
    pub(crate) max_unavailable: Option<f64>,
    pub(crate) max_concurrent: Option<usize>,
    pub(crate) stop_signal: Option<Signal>,
    pub(crate) wait_timeout_ms: u64,
    pub(crate) release_command_timeout_ms: u64,
    pub(crate) skip_release_command: bool,
    pub(crate) skip_smoke_checks: bool,
    pub(crate) no_ha: bool,
    pub(crate) update_only: bool,
    /// Machines keep their own configuration.
    pub(crate) keep_config: bool,
    /// Machines that no deployment made get the newest secrets, too.
    pub(crate) all_machines: bool,
    /// Image and configuration are those of the release before it, whichever that is when its turn comes.
    pub(crate) inherits: bool,
    /// Go back to the last complete release if this one fails.
    pub(crate) auto_rollback: bool,
    /// Where groups are to have a machine at least.
    pub(crate) regions: Vec<Region>,
    pub(crate) only_regions: Vec<String>,
    pub(crate) exclude_regions: Vec<String>,
    pub(crate) only_machines: Vec<String>,
    pub(crate) exclude_machines: Vec<String>,
    pub(crate) process_groups: Vec<String>,
    /// The size of first machines of groups whose configuration names none.
    pub(crate) first_guest: Option<GuestSize>,
    /// How many machines there shall be; such a release changes nothing else.
    pub(crate) scale: Vec<Target>,
    /// Added to the environment of the machines that `scale` makes.
    pub(crate) scale_env: BTreeMap<String, String>,
    /// The size machines get, with `keep_config`.
    pub(crate) guest: Option<GuestChange>,
    /// What changes about the configuration that is inherited.
    pub(crate) concurrency: Option<ConcurrencyChange>,
    /// The organization to which the app goes with copies of its machines as they are.
    pub(crate) moves_to: Option<OrgId>,
    pub(crate) skip_checks: bool,
    /// It is the app's first: what mounts name is made where nothing of the name is free.
    pub(crate) makes_volumes: bool,
    /// In GB: of those, instead of what the configuration says.
    pub(crate) volume_initial_size: Option<u32>,
    /// What `scale` makes gets new volumes, even if others are free.
    pub(crate) with_new_volumes: bool,
}

/// Other limits for an app's services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConcurrencyChange {
    pub(crate) limits: ServiceConcurrency,
    /// Only the services of this process group.
    pub(crate) group: Option<String>,
}

impl ConcurrencyChange {
    /// The configuration with the change.
    ///
    /// # Errors
    /// 422 if no service is meant, or for limits that contradict each other.
    pub(crate) fn apply(&self, mut config: AppConfig) -> Result<Value, ApiError> {
        let group = self.group.as_deref();
        if config.set_concurrency(group, &self.limits) == 0 {
            let what = match group {
                Some(group) => format!("process_group: no service of group \"{group}\""),
                None => "the app has no service".to_owned(),
            };
            return Err(ApiError::invalid(format!("{what} has limits to change")));
        }
        let value = config.to_value();
        app_config(&value)?;
        Ok(value)
    }
}

/// What changes about the size of machines; the rest of it stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GuestChange {
    pub(crate) cpu_kind: Option<CpuKind>,
    pub(crate) cpus: Option<u32>,
    pub(crate) memory_mib: Option<u32>,
}

impl GuestChange {
    pub(crate) fn of(&self, now: GuestSize) -> GuestSize {
        GuestSize {
            cpu_kind: self.cpu_kind.unwrap_or(now.cpu_kind),
            cpus: self.cpus.unwrap_or(now.cpus),
            memory_mib: self.memory_mib.unwrap_or(now.memory_mib),
        }
    }
}

impl Options {
    /// How a change of numbers or sizes is carried out.
    pub(crate) fn of_scaling() -> Self {
        Options {
            strategy: Strategy::Rolling.to_string(),
            wait_timeout_ms: u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX),
            skip_release_command: true,
            keep_config: true,
            inherits: true,
            ..Options::default()
        }
    }

    /// Whether numbers, sizes or the owner of machines are all it changes.
    pub(crate) fn scales(&self) -> bool {
        !self.scale.is_empty() || self.guest.is_some() || self.moves_to.is_some()
    }

    /// Whether it is a change of what the release before it leaves, and of nothing else.
    fn stands_for_itself(&self) -> bool {
        self.scales() || self.concurrency.is_some()
    }

    /// Whether a release of these contains what an earlier one asked for: new secrets contain those before them, a whole
    /// deployment also an earlier deployment to no other regions. What scales stands for itself.
    pub(crate) fn contain(&self, earlier: &Options) -> bool {
        let places = |region: &Region| self.regions.contains(region);
        !self.stands_for_itself()
            && !earlier.stands_for_itself()
            && (!self.inherits || earlier.inherits)
            && (self.all_machines || !earlier.all_machines)
            && earlier.regions.iter().all(places)
    }

    pub(crate) fn of_release(release: &Release) -> Options {
        serde_json::from_value(release.options.clone()).unwrap_or_default()
    }

    /// The request's word, then the configuration's, then the usual.
    ///
    /// # Errors
    /// 422 for a strategy that does not exist, a share or a time out of range.
    pub(crate) fn of(
        request: &CreateRelease,
        config: Option<&AppConfig>,
    ) -> Result<Self, ApiError> {
        let deploy = config.and_then(|config| config.deploy.clone());
        let deploy = deploy.unwrap_or_default();
        let experimental = config.and_then(|config| config.experimental.clone());
        let strategy: Strategy =
            match request.strategy.as_deref().filter(|text| !text.is_empty()) {
                Some(text) => text.parse(),
                None => deploy.strategy.as_deref().unwrap_or("rolling").parse(),
            }
            .map_err(|error| ApiError::invalid(format!("{error}")))?;
        let all_machines = request.all_machines == Some(true);
        if all_machines && request.keep_config != Some(true) {
            return Err(ApiError::invalid(
                "all_machines needs keep_config: a configuration is for machines that deployments made",
            ));
        }
        let strategy = match strategy {
            // Machines that somebody made by hand are not replaced by others.
            Strategy::BlueGreen | Strategy::Canary if all_machines => Strategy::Rolling,
            strategy => strategy,
        };
        let max_unavailable = request.max_unavailable.or(deploy.max_unavailable);
        if let Some(share) = max_unavailable
            && strategy != Strategy::BlueGreen
        {
            Unavailable::try_from(share).map_err(|error| ApiError::invalid(error.to_string()))?;
        }
        let wait = request.wait_timeout.or(deploy.wait_timeout);
        let command = request
            .release_command_timeout
            .or(deploy.release_command_timeout);
        let first_guest = match &request.guest {
            None => None,
            Some(guest) => {
                let machine = MachineConfig {
                    guest: Some(guest.clone()),
                    ..MachineConfig::default()
                };
                Some(machine.size_of_guest()?)
            }
        };
        let stop_signal = request
            .stop_signal
            .as_deref()
            .filter(|text| !text.is_empty());
        let stop_signal = stop_signal.map(str::parse).transpose();
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        Ok(Options {
            strategy: strategy.to_string(),
            max_unavailable,
            max_concurrent: request.max_concurrent.map(count).transpose()?,
            stop_signal: stop_signal
                .map_err(|error| ApiError::invalid(format!("stop_signal: {error}")))?,
            wait_timeout_ms: millis("wait_timeout", wait.map(|wait| wait.0))?,
            release_command_timeout_ms: millis(
                "release_command_timeout",
                command.map(|wait| wait.0),
            )?,
            skip_release_command: request.skip_release_command == Some(true),
            skip_smoke_checks: request.smoke_checks == Some(false),
            no_ha: request.ha == Some(false),
            update_only: request.update_only == Some(true),
            keep_config: request.keep_config == Some(true),
            all_machines,
            inherits: request.keep_config == Some(true) && request.image.is_none(),
            auto_rollback: experimental
                .and_then(|experimental| experimental.auto_rollback)
                .unwrap_or(false),
            only_regions: list(&request.only_regions),
            exclude_regions: list(&request.exclude_regions),
            only_machines: list(&request.only_machines),
            exclude_machines: list(&request.exclude_machines),
            process_groups: list(&request.process_groups),
            first_guest,
            volume_initial_size: request
                .volume_initial_size
                .filter(|size| *size != 0)
                .map(|size| size_gb("volume_initial_size", size))
                .transpose()?,
            ..Options::default()
        })
    }

    pub(crate) fn strategy(&self) -> Strategy {
        self.strategy.parse().unwrap_or_default()
    }

    pub(crate) fn rules(&self) -> Rules {
        let share = self.max_unavailable.map(Unavailable::try_from);
        Rules {
            strategy: self.strategy(),
            max_unavailable: share.and_then(Result::ok).unwrap_or_default(),
            max_concurrent: self.max_concurrent.unwrap_or(usize::MAX),
            wait_timeout: Duration::from_millis(self.wait_timeout_ms),
            checks: !self.skip_checks,
            smoke_checks: !self.skip_smoke_checks,
        }
    }

    pub(crate) fn release_command_timeout(&self) -> Duration {
        Duration::from_millis(self.release_command_timeout_ms)
    }

    /// Whether the release is for a machine that is there.
    pub(crate) fn concerns(&self, id: &str, region: &str, group: &str) -> bool {
        let in_list = |list: &[String], text: &str| list.iter().any(|item| item == text);
        let asked_for = |list: &[String], text: &str| list.is_empty() || in_list(list, text);
        asked_for(&self.only_regions, region)
            && !in_list(&self.exclude_regions, region)
            && asked_for(&self.only_machines, id)
            && !in_list(&self.exclude_machines, id)
            && asked_for(&self.process_groups, group)
    }

    /// Whether the release may make machines for a group that has none.
    pub(crate) fn fills(&self, group: &str) -> bool {
        let groups = &self.process_groups;
        !self.update_only
            && self.only_machines.is_empty()
            && (groups.is_empty() || groups.iter().any(|name| name == group))
    }
}

fn count(wanted: i64) -> Result<usize, ApiError> {
    let count = usize::try_from(wanted).ok().filter(|count| *count > 0);
    count.ok_or_else(|| {
        ApiError::invalid(format!("max_concurrent must be at least 1, got {wanted}"))
    })
}

pub(super) fn millis(field: &str, wanted: Option<Duration>) -> Result<u64, ApiError> {
    let wanted = wanted.filter(|wanted| !wanted.is_zero()).unwrap_or(WAIT);
    if wanted > WAIT_MAX {
        return Err(ApiError::invalid(format!(
            "{field} must be at most 24 hours, got {} s",
            wanted.as_secs()
        )));
    }
    Ok(u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_contained_is_superseded() {
        let deploy = Options::default();
        let secrets = Options {
            keep_config: true,
            inherits: true,
            ..Options::default()
        };
        let region: Region = "iad".parse().expect("a code of a region");
        let scale = Options {
            scale: vec![Target {
                group: "app".to_owned(),
                region,
                count: 2,
            }],
            ..Options::of_scaling()
        };
        let secrets_of_all = Options {
            all_machines: true,
            ..secrets.clone()
        };
        let further = Options {
            regions: vec!["lhr".parse().expect("a code of a region")],
            ..Options::default()
        };
        for (newer, earlier, contained) in [
            (&deploy, &further, false),
            (&further, &further, true),
            (&further, &deploy, true),
            (&deploy, &deploy, true),
            (&deploy, &secrets, true),
            (&deploy, &scale, false),
            (&secrets, &secrets, true),
            (&secrets_of_all, &secrets, true),
            (&secrets, &secrets_of_all, false),
            (&deploy, &secrets_of_all, false),
            (&secrets, &deploy, false),
            (&secrets, &scale, false),
            (&scale, &deploy, false),
            (&scale, &scale, false),
        ] {
            assert_eq!(newer.contain(earlier), contained, "{newer:?} {earlier:?}");
        }
    }
}
