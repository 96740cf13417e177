use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use mayfly_types::{
    AppId, AppName, ImageRef, InstanceId, LaunchId, MachineId, NetworkId, OrgId, OrgSlug, Region,
    Secret, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    Actor, Decision, EventKind, Happening, MachineSpec, MachineState, Persist, Phase, Rights,
    RunChange, Schedule, Tries,
};

/// One machine as its host keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub identity: Identity,
    pub version: Version,
    /// Not to be given traffic.
    pub cordoned: bool,
    pub phase: Phase,
    /// When the phase's state began.
    pub since: Timestamp,
    /// Restarts by policy since the last healthy while.
    pub restarts: u32,
    /// Launches so far: the next launch's id is made from it.
    pub launches: u64,
    /// The images whose files are in the machine's writable layers, main container first.
    pub rootfs_of: Vec<ImageRef>,
    pub timetable: Option<Timetable>,
}

/// What never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub machine_id: MachineId,
    pub name: String,
    pub app_id: AppId,
    pub app_name: AppName,
    pub org_id: OrgId,
    pub org_slug: OrgSlug,
    pub network: NetworkId,
    pub region: Region,
    pub private_ip: Ipv6Addr,
    pub ipv4: Ipv4Addr,
    pub created_at: Timestamp,
}

/// One immutable configuration, with the app secrets it starts with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub instance_id: InstanceId,
    pub spec: MachineSpec,
    /// Left out when a machine is serialized: whoever stores one keeps [`Machine::secrets`] apart and sealed. Records from
    /// before that have them here.
    #[serde(default, skip_serializing)]
    pub secrets: BTreeMap<String, Secret>,
}

/// Whether a new or changed machine is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Launch {
    Now,
    Skip,
}

/// The runs of a scheduled machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timetable {
    pub next_at: Timestamp,
    /// The run that is going on, by the time it was due.
    pub running: Option<Timestamp>,
}

impl Machine {
    /// A machine that is taken on now. `by` is who created it.
    pub fn create(
        identity: Identity,
        version: Version,
        launch: Launch,
        cordoned: bool,
        by: Actor,
    ) -> Decision {
        let now = identity.created_at;
        // A standby waits for its primary's failure, whatever the request says.
        let then = if version.spec.standbys.is_empty() {
            launch
        } else {
            Launch::Skip
        };
        let mut machine = Machine {
            identity,
            version,
            cordoned,
            phase: Phase::Creating {
                then,
                tries: Tries::default(),
                by,
            },
            since: now,
            restarts: 0,
            launches: 0,
            rootfs_of: Vec::new(),
            timetable: None,
        };
        machine.plan_schedule(now);
        let mut runs = Vec::new();
        // The first run of a scheduled machine is its creation.
        if let (Some(timetable), Launch::Now) = (&mut machine.timetable, then) {
            timetable.running = Some(now);
            runs.push(RunChange::Started { due_at: now });
        }
        Decision {
            next: machine,
            happenings: vec![Happening {
                kind: EventKind::Launch,
                by,
            }],
            runs,
        }
    }

    pub fn state(&self) -> MachineState {
        self.phase.state()
    }

    /// The secrets of every version this machine holds.
    pub fn secrets(&self) -> BTreeMap<InstanceId, &BTreeMap<String, Secret>> {
        let held = std::iter::once(&self.version).chain(self.previous());
        held.filter(|version| !version.secrets.is_empty())
            .map(|version| (version.instance_id, &version.secrets))
            .collect()
    }

    /// Gives the versions of a machine that was read from where it is stored their secrets back.
    pub fn restore_secrets(&mut self, mut secrets: BTreeMap<InstanceId, BTreeMap<String, Secret>>) {
        if let Phase::Updating { previous, .. } = &mut self.phase
            && let Some(own) = secrets.remove(&previous.instance_id)
        {
            previous.secrets = own;
        }
        if let Some(own) = secrets.remove(&self.version.instance_id) {
            self.version.secrets = own;
        }
    }

    /// The version whose guest runs until the new one can start.
    fn previous(&self) -> Option<&Version> {
        match &self.phase {
            Phase::Updating { previous, .. } => Some(previous),
            _ => None,
        }
    }

    /// The images a launch needs: one per container, main one first.
    pub fn images(&self) -> Vec<ImageRef> {
        let spec = &self.version.spec;
        if spec.containers.is_empty() {
            vec![spec.image.clone()]
        } else {
            spec.containers
                .iter()
                .map(|container| container.image.clone())
                .collect()
        }
    }

    /// Whether the launch under way keeps what the machine wrote before.
    pub fn keeps_rootfs(&self) -> bool {
        let Phase::Starting { cause, .. } = &self.phase else {
            return false;
        };
        let by_itself = matches!(cause, crate::Cause::Policy | crate::Cause::Boot);
        match self.version.spec.rootfs.persist {
            Persist::Never => false,
            Persist::Restart => by_itself && self.rootfs_of == self.images(),
            // A builder's disk is its cache, and its images write nowhere else.
            Persist::Always => {
                self.version.spec.rights == Rights::Builder || self.rootfs_of == self.images()
            }
        }
    }

    /// The id of the launch that comes next; ids of one machine never repeat.
    pub(crate) fn next_launch(&mut self) -> LaunchId {
        self.launches += 1;
        let number = self.launches;
        LaunchId::from_random(std::array::from_fn(|digit| {
            ((number >> (4 * (11 - digit))) & 15) as u8
        }))
    }

    /// Sets when the schedule is due next, after a creation or a change of the schedule.
    pub(crate) fn plan_schedule(&mut self, now: Timestamp) {
        let running = self.timetable.and_then(|timetable| timetable.running);
        self.timetable = self
            .version
            .spec
            .schedule
            .as_deref()
            .and_then(|text| text.parse::<Schedule>().ok())
            .and_then(|schedule| schedule.next_after(now, self.identity.created_at))
            .map(|next_at| Timetable { next_at, running });
    }
}
