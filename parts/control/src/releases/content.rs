//! What a release makes of a machine.

use std::collections::BTreeMap;

use mayfly_appconfig::{AppConfig, MachineCheck, MachineError};
use mayfly_control_store::{Machine, Release};
use mayfly_machine::{CpuKind, GuestSize};
use mayfly_types::MachineId;
use mayfly_wire::{InvalidBody, MachineConfig, read_value};
use serde_json::value::to_raw_value;

use super::machines::{is_managed, runs};
use super::options::GuestChange;
use super::volumes::{changes_volume, forget_volumes};
use crate::machines::prepare::WrittenConfig;

/// Metadata keys, as clients of the original know them (`fly_…`) or our own.
pub(super) const MANAGED: (&str, &str) = ("fly_platform_version", "v2");
pub(super) const GROUP: &str = "fly_process_group";
pub(super) const RELEASE_ID: &str = "fly_release_id";
pub(super) const RELEASE_VERSION: &str = "fly_release_version";
pub(super) const CANARY: &str = "fly_canary";
pub(super) const BLUE_GREEN: &str = "fly_bluegreen_deployment_tag";
/// The release that made the machine.
pub(super) const MADE_BY: &str = "mayfly_made_by_release";
/// Which of its group's first machines it is, from 0.
pub(super) const NUMBER: &str = "mayfly_number";
/// The machine that a blue-green release replaces by this one.
pub(super) const REPLACES: &str = "mayfly_replaces";
/// It was made without being started, in the place of one that rested.
pub(super) const RESTS: &str = "mayfly_rests";
/// The load has made the machine, and may end it.
pub(super) const AUTOSCALED: &str = "mayfly_autoscaled";
/// The machine that this one tests, and which of its checks that is, from 0.
pub(super) const TESTS: &str = "mayfly_tests";
pub(super) const CHECK_NUMBER: &str = "mayfly_check_number";

/// The size of a release command's machine before there are others to go by.
const COMMAND_SIZE: GuestSize = GuestSize {
    cpu_kind: CpuKind::Shared,
    cpus: 2,
    memory_mib: 512,
};

/// Why a machine's configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    #[error("the app's configuration")]
    Config(#[from] MachineError),
    #[error("read the configuration of machine {machine_id}")]
    Existing {
        machine_id: MachineId,
        #[source]
        source: Unreadable,
    },
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("it has another shape")]
    Shape(#[from] InvalidBody),
}

/// A release's words about machines.
pub(super) struct Content<'a> {
    pub(super) release: &'a Release,
    /// `None` keeps machines as they are but for image and release.
    pub(super) config: Option<&'a AppConfig>,
    pub(super) guest: Option<&'a GuestChange>,
    pub(super) first_guest: Option<GuestSize>,
    /// Machines are copied as they are, those that no deployment made too.
    pub(super) copies: bool,
}

impl Content<'_> {
    /// A machine that is there, with the release. One that no deployment made stays as it is but for the secrets it gets.
    pub(super) fn changed(&self, machine: &Machine) -> Result<MachineConfig, ContentError> {
        let existing = read(machine)?;
        let group = group_of(machine);
        if !self.copies && !is_managed(machine) {
            let mut next = existing;
            self.sign(&mut next);
            return Ok(next);
        }
        let mut next = match self.config {
            Some(config) => {
                let mut next = config.machine_config(&group, Some(&existing))?;
                if !changes_volume(config, machine) {
                    keep_volume(&mut next, machine);
                }
                next
            }
            None => existing,
        };
        if let Some(guest) = self.guest {
            let size = guest_of(guest.of(machine.spec.size));
            let written = next.guest.get_or_insert_default();
            written.cpu_kind = size.cpu_kind;
            written.cpus = size.cpus;
            written.memory_mb = size.memory_mb;
            // The deprecated word for all of it would contradict.
            next.size = None;
        }
        self.mark(&mut next);
        Ok(next)
    }

    /// A further machine of a group: as `like` is, or as the configuration says for a group that has none.
    pub(super) fn further(
        &self,
        group: &str,
        like: Option<&Machine>,
        env: &BTreeMap<String, String>,
    ) -> Result<MachineConfig, ContentError> {
        let mut next = match like {
            Some(like) => read(like)?,
            None => self.fresh(group)?,
        };
        next.standbys = None;
        unmark(&mut next);
        forget_volumes(&mut next);
        let all = next.env.get_or_insert_default();
        all.remove("FLY_STANDBY_FOR");
        all.extend(env.clone());
        let image = next.image.clone().filter(|_| like.is_some());
        self.mark(&mut next);
        next.image = image.or(next.image);
        self.note(&mut next, MADE_BY, self.release.number.to_string());
        Ok(next)
    }

    /// The `number`-th of the first machines of a group.
    pub(super) fn first(&self, group: &str, number: usize) -> Result<MachineConfig, ContentError> {
        let mut next = self.fresh(group)?;
        self.note(&mut next, NUMBER, number.to_string());
        Ok(next)
    }

    /// The first machine in another region of the group of `like`.
    pub(super) fn settler(&self, like: &Machine) -> Result<MachineConfig, ContentError> {
        let mut next = self.changed(like)?;
        unmark(&mut next);
        forget_volumes(&mut next);
        self.note(&mut next, MADE_BY, self.release.number.to_string());
        Ok(next)
    }

    /// A machine of a group that has none yet.
    fn fresh(&self, group: &str) -> Result<MachineConfig, ContentError> {
        let config = self.config.cloned().unwrap_or_default();
        let mut next = config.machine_config(group, None)?;
        next.guest
            .get_or_insert_with(|| guest_of(self.first_guest.unwrap_or_default()));
        self.mark(&mut next);
        self.note(&mut next, MADE_BY, self.release.number.to_string());
        Ok(next)
    }

    pub(super) fn standby(
        &self,
        group: &str,
        of: MachineId,
    ) -> Result<MachineConfig, ContentError> {
        let mut next = self.fresh(group)?;
        next.standbys = Some(vec![of.to_string()]);
        next.env
            .get_or_insert_default()
            .insert("FLY_STANDBY_FOR".to_owned(), of.to_string());
        Ok(next)
    }

    /// The machine that takes the place of `old`, which has another volume than it shall have.
    pub(super) fn replacement(&self, old: &Machine) -> Result<MachineConfig, ContentError> {
        let mut next = self.changed(old)?;
        self.note(&mut next, MADE_BY, self.release.number.to_string());
        self.note(&mut next, REPLACES, old.id.to_string());
        if !runs(old.state) {
            self.note(&mut next, RESTS, "true".to_owned());
        }
        Ok(next)
    }

    pub(super) fn canary(&self, like: &Machine) -> Result<MachineConfig, ContentError> {
        let mut next = self.changed(like)?;
        self.note(&mut next, MADE_BY, self.release.number.to_string());
        self.note(&mut next, CANARY, "true".to_owned());
        next.dns.get_or_insert_default().skip_registration = Some(true);
        Ok(next)
    }

    /// The machine that is to replace `blue`; `greens` are the replacements of the machines it may stand in for.
    pub(super) fn green(
        &self,
        blue: &Machine,
        greens: &BTreeMap<MachineId, MachineId>,
    ) -> Result<MachineConfig, ContentError> {
        let mut next = self.changed(blue)?;
        self.note(&mut next, MADE_BY, self.release.number.to_string());
        self.note(&mut next, REPLACES, blue.id.to_string());
        if self.copies {
            // What its image's tag stands for by now is another matter.
            next.image = Some(blue.image.to_string());
            if !runs(blue.state) {
                self.note(&mut next, RESTS, "true".to_owned());
            }
        } else {
            self.note(&mut next, BLUE_GREEN, self.release.number.to_string());
        }
        let replaced = |id: &String| {
            let green = id
                .parse()
                .ok()
                .and_then(|blue: MachineId| greens.get(&blue));
            green.map_or_else(|| id.clone(), ToString::to_string)
        };
        next.standbys = next
            .standbys
            .map(|standbys| standbys.iter().map(replaced).collect());
        Ok(next)
    }

    /// The machine that runs the release command; `None` without one. It is as large as the largest of the default group.
    pub(super) fn command(
        &self,
        machines: &[Machine],
    ) -> Result<Option<MachineConfig>, ContentError> {
        let Some(config) = self.config else {
            return Ok(None);
        };
        let Some(mut next) = config.release_machine_config()? else {
            return Ok(None);
        };
        if next.guest.is_none() {
            let group = config.default_group();
            let of_group = machines.iter().filter(|machine| group_of(machine) == group);
            let largest = of_group.max_by_key(|machine| machine.spec.size.memory_mib);
            next.guest = match largest {
                Some(machine) => read(machine)?.guest,
                None => Some(guest_of(COMMAND_SIZE)),
            };
        }
        self.mark(&mut next);
        Ok(Some(next))
    }

    /// The machine that runs one of the checks of `tested`, in the check's own image or in that of the release; it is as
    /// large as the one it tests.
    pub(super) fn test(
        &self,
        check: &MachineCheck,
        number: usize,
        tested: &Machine,
    ) -> Result<MachineConfig, ContentError> {
        let config = self.config.cloned().unwrap_or_default();
        let mut next = config.test_machine_config(check, &group_of(tested), &tested.private_ip)?;
        let image = next.image.take();
        next.guest = read(tested)?.guest;
        self.mark(&mut next);
        next.image = image.or(next.image);
        self.note(&mut next, TESTS, tested.id.to_string());
        self.note(&mut next, CHECK_NUMBER, number.to_string());
        Ok(next)
    }

    fn mark(&self, machine: &mut MachineConfig) {
        if !self.copies {
            if let Some(image) = &self.release.image {
                machine.image = Some(image.to_string());
            }
            self.note(machine, MANAGED.0, MANAGED.1.to_owned());
        }
        self.sign(machine);
    }

    fn sign(&self, machine: &mut MachineConfig) {
        self.note(machine, RELEASE_ID, self.release.id.to_string());
        self.note(machine, RELEASE_VERSION, self.release.number.to_string());
    }

    fn note(&self, machine: &mut MachineConfig, key: &str, value: String) {
        let metadata = machine.metadata.get_or_insert_default();
        metadata.insert(key.to_owned(), value);
    }
}

/// A machine that somebody asked for is theirs, whatever it is like.
fn unmark(machine: &mut MachineConfig) {
    let metadata = machine.metadata.get_or_insert_default();
    metadata.remove(AUTOSCALED);
}

/// A configuration of an app names volumes; which of them a machine has is its own.
fn keep_volume(next: &mut MachineConfig, machine: &Machine) {
    let volume = machine.spec.mounts.first();
    for mount in next.mounts.iter_mut().flatten() {
        mount.volume = volume.map(|mount| mount.volume.to_string());
    }
}

/// A size as configurations write it.
fn guest_of(size: GuestSize) -> mayfly_wire::Guest {
    mayfly_wire::Guest {
        cpu_kind: Some(size.cpu_kind.as_str().to_owned()),
        cpus: Some(i64::from(size.cpus)),
        memory_mb: Some(i64::from(size.memory_mib)),
        ..mayfly_wire::Guest::default()
    }
}

/// The process group of a machine; those of old clients have none.
pub(crate) fn group_of(machine: &Machine) -> String {
    let metadata = &machine.spec.metadata;
    let group = metadata
        .get(GROUP)
        .or_else(|| metadata.get("process_group"));
    group.map_or_else(|| mayfly_appconfig::DEFAULT_GROUP.to_owned(), Clone::clone)
}

/// A configuration in the two forms in which machines are asked for.
pub(super) fn written(config: &MachineConfig) -> WrittenConfig {
    let value = serde_json::to_value(config).expect("a configuration is plain data");
    let letter = to_raw_value(&value).expect("a value is JSON");
    (value, letter)
}

fn read(machine: &Machine) -> Result<MachineConfig, ContentError> {
    let existing = || -> Result<MachineConfig, Unreadable> {
        let value = serde_json::from_str(machine.config.get())?;
        Ok(read_value(&value)?)
    };
    existing().map_err(|source| ContentError::Existing {
        machine_id: machine.id,
        source,
    })
}
