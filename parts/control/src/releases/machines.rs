//! An app's machines as a deployment sees them.

use std::collections::{BTreeMap, BTreeSet};

use mayfly_appconfig::AppConfig;
use mayfly_control_store::{App, Machine, MachineCount, MachineEvent, Release};
use mayfly_deploy::{
    CheckNow, Counted, Group, Member, Readiness, Rules, Seen, Strategy, readiness,
};
use mayfly_host_api::CheckStatus;
use mayfly_machine::MachineState;
use mayfly_types::{MachineId, Region, Timestamp};

use super::content::{
    CANARY, Content, GROUP, MADE_BY, MANAGED, NUMBER, RELEASE_ID, REPLACES, RESTS, group_of,
};
use super::error::StepError;
use super::options::Options;
use super::volumes::changes_volume;
use crate::cloud::Cloud;
use crate::machines::checks::Checks;

/// Enough to find the starts and ends since a release.
pub(super) const HISTORY: u32 = 20;

/// The machines that a release is for, and what is known of each.
pub(super) struct Fleet {
    pub(super) machines: BTreeMap<MachineId, Machine>,
    pub(super) members: Vec<Member>,
    /// Where machines are that the release is not for, by group.
    others: BTreeSet<(String, Region)>,
}

impl Fleet {
    /// Looks at the machines of the app that deployments manage; others are left alone unless all are meant.
    pub(super) async fn look(
        cloud: &Cloud,
        app: &App,
        release: &Release,
        options: &Options,
    ) -> Result<Fleet, StepError> {
        let machines = cloud.machines_of(app, false).await?;
        let mut events = cloud
            .store
            .app_machine_events(app.id, HISTORY, false)
            .await?;
        let (checks, now) = (Checks::now(&cloud.hosts), cloud.now());
        let rules = options.rules();
        let nonce = cloud.release_nonce(release);
        let mut fleet = Fleet {
            machines: BTreeMap::new(),
            members: Vec::new(),
            others: BTreeSet::new(),
        };
        for machine in machines {
            let copied = options.moves_to.is_some() && !is_one_off(&machine);
            let further =
                options.all_machines && !is_one_off(&machine) && !machine.spec.auto_destroy;
            if !is_managed(&machine) && !copied && !further {
                continue;
            }
            let group = group_of(&machine);
            let made = is_made_by(&machine, release);
            if !made && !options.concerns(machine.id.as_str(), machine.region.as_str(), &group) {
                fleet.others.insert((group, machine.region));
                continue;
            }
            let history = events.remove(&machine.id).unwrap_or_default();
            let metadata = &machine.spec.metadata;
            let has_release =
                metadata.get(RELEASE_ID).map(String::as_str) == Some(release.id.as_str());
            fleet.members.push(Member {
                id: machine.id,
                release: has_release.then(|| judge(&machine, &history, &checks, &rules, now)),
                region: machine.region.clone(),
                made,
                number: metadata
                    .get(NUMBER)
                    .filter(|_| made)
                    .and_then(|number| number.parse().ok()),
                replaces: metadata
                    .get(REPLACES)
                    .filter(|_| made)
                    .and_then(|id| id.parse().ok()),
                canary: metadata.contains_key(CANARY),
                standby: !machine.spec.standbys.is_empty(),
                running: runs(machine.state),
                cordoned: machine.cordoned,
                leased: machine
                    .lease_at(now)
                    .is_some_and(|lease| lease.nonce != nonce),
                remounts: false,
                group,
            });
            fleet.machines.insert(machine.id, machine);
        }
        Ok(fleet)
    }

    /// Marks the machines that cannot have the release in place.
    pub(super) fn mark_remounts(&mut self, config: &AppConfig) {
        for member in self.members.iter_mut().filter(|member| !member.made) {
            let machine = &self.machines[&member.id];
            member.remounts = member.release.is_none() && changes_volume(config, machine);
        }
    }

    /// The groups of the release; their first machines go to its regions, or to `home` if it names none.
    ///
    /// # Errors
    /// That of `home`, if it is needed.
    pub(super) fn groups(
        &self,
        content: &Content<'_>,
        options: &Options,
        home: impl Fn() -> Result<Region, StepError>,
    ) -> Result<Vec<Group>, StepError> {
        let Some(config) = content.config else {
            // Nothing is known but what is there.
            let mut names: Vec<&str> = self
                .members
                .iter()
                .map(|member| member.group.as_str())
                .collect();
            names.sort_unstable();
            names.dedup();
            let group = |name: &str| Group {
                name: name.to_owned(),
                first_machines: Vec::new(),
                standby_at_first: false,
                regions: Vec::new(),
            };
            return Ok(names.into_iter().map(group).collect());
        };
        let group = |name: &str| {
            let others: Vec<&Region> = self
                .others
                .iter()
                .filter(|(group, _)| group == name)
                .map(|(_, region)| region)
                .collect();
            let fills = options.fills(name);
            let regions = options.regions.iter().filter(|_| fills);
            let has_some = self
                .members
                .iter()
                .any(|one| one.group == name && (!one.made || one.replaces.is_some()));
            let (count, standby) = if !fills || has_some || !others.is_empty() {
                (0, false)
            } else if config.mount(name).is_some() || options.no_ha {
                (1, false)
            } else if config.has_services(name) {
                (2, false)
            } else {
                (1, true)
            };
            let first_machines = match (count, options.regions.as_slice()) {
                (0, _) => Vec::new(),
                (count, []) => vec![home()?; count],
                (count, regions) => {
                    let count = count.max(regions.len());
                    regions.iter().cycle().take(count).cloned().collect()
                }
            };
            Ok(Group {
                name: name.to_owned(),
                first_machines,
                standby_at_first: standby,
                regions: regions
                    .filter(|region| !others.contains(region))
                    .cloned()
                    .collect(),
            })
        };
        config.groups().into_iter().map(group).collect()
    }

    /// The machines that count when they are counted.
    pub(super) fn counted(&self) -> Vec<Counted> {
        let members = self.members.iter();
        members
            .filter(|member| !member.standby && !member.canary)
            .map(|member| {
                let machine = &self.machines[&member.id];
                Counted {
                    id: member.id,
                    group: member.group.clone(),
                    region: machine.region.clone(),
                    running: member.running,
                    created_at: machine.created_at,
                    made: member.release.clone().filter(|_| member.made),
                }
            })
            .collect()
    }

    /// The machine a further one of its group is like: the newest, of the same region if there is one.
    pub(super) fn like(&self, group: &str, region: &Region) -> Option<&Machine> {
        let of_group = self
            .members
            .iter()
            .filter(|member| member.group == group && !member.standby && !member.canary)
            .map(|member| &self.machines[&member.id]);
        of_group.max_by_key(|machine| (machine.region == *region, machine.created_at, machine.id))
    }

    /// Which machine replaces which.
    pub(super) fn greens(&self) -> BTreeMap<MachineId, MachineId> {
        let members = self.members.iter();
        members
            .filter_map(|member| Some((member.replaces?, member.id)))
            .collect()
    }

    /// What a release that failed takes away again: machines that stand beside the old ones.
    pub(super) fn extra(&self, strategy: Strategy) -> impl Iterator<Item = &Machine> {
        let is_beside = move |member: &Member| {
            let mut olds = self.members.iter().filter(|old| !old.made);
            match strategy {
                Strategy::BlueGreen => olds.any(|old| old.group == member.group),
                _ => olds.any(|old| Some(old.id) == member.replaces),
            }
        };
        let members = self.members.iter();
        members
            .filter(move |member| member.made && (member.canary || is_beside(member)))
            .map(|member| &self.machines[&member.id])
    }
}

impl Cloud {
    /// How many machines of an app deployments look after, standbys apart.
    pub(super) async fn count_machines(&self, app: &App) -> Result<Vec<MachineCount>, StepError> {
        let mut counts: BTreeMap<(String, Region), i64> = BTreeMap::new();
        for machine in self.machines_of(app, false).await? {
            if is_managed(&machine) && machine.spec.standbys.is_empty() {
                let place = (group_of(&machine), machine.region.clone());
                *counts.entry(place).or_default() += 1;
            }
        }
        let counted = counts
            .into_iter()
            .map(|((group, region), machines)| MachineCount {
                group,
                region,
                machines,
            });
        Ok(counted.collect())
    }
}

/// Made by a deployment for users; the machines of commands, tests and consoles are not.
pub(super) fn is_managed(machine: &Machine) -> bool {
    let metadata = &machine.spec.metadata;
    let managed = metadata.get(MANAGED.0).map(String::as_str) == Some(MANAGED.1);
    managed && !is_one_off(machine)
}

fn is_one_off(machine: &Machine) -> bool {
    let group = machine.spec.metadata.get(GROUP);
    group.is_some_and(|group| group.starts_with("fly_app_"))
}

fn is_made_by(machine: &Machine, release: &Release) -> bool {
    let made_by = machine.spec.metadata.get(MADE_BY);
    made_by.and_then(|number| number.parse().ok()) == Some(release.number)
}

/// Whether a machine in this state runs a program or is about to.
pub(super) fn runs(state: MachineState) -> bool {
    matches!(
        state,
        MachineState::Starting
            | MachineState::Started
            | MachineState::Restarting
            | MachineState::Updating
            | MachineState::Replacing
            | MachineState::Stopping
            | MachineState::Failed
            | MachineState::LaunchFailed
    )
}

pub(super) fn judge(
    machine: &Machine,
    history: &[MachineEvent],
    checks: &Checks,
    rules: &Rules,
    now: Timestamp,
) -> Readiness {
    // Newest first, by the host's own order: what came after it took the version on.
    let since_release: Vec<&MachineEvent> = history
        .iter()
        .take_while(|event| event.kind != "update" && event.kind != "launch")
        .collect();
    let ran = since_release.iter().any(|event| event.kind == "start");
    let crashes: Vec<i32> = since_release
        .iter()
        .filter_map(|event| crash(event))
        .collect();
    let rests = !ran
        && match machine.state {
            MachineState::Stopped | MachineState::Suspended => true,
            MachineState::Created => {
                !machine.spec.standbys.is_empty() || machine.spec.metadata.contains_key(RESTS)
            }
            _ => false,
        };
    let checks = checks.of(machine).into_iter().map(|check| CheckNow {
        status: match check.status.as_str() {
            "passing" => CheckStatus::Passing,
            "critical" => CheckStatus::Critical,
            _ => CheckStatus::Warning,
        },
        name: check.name,
        output: check.output,
    });
    let seen = Seen {
        state: machine.state,
        since: machine.state_since,
        updated_at: machine.updated_at,
        delivered: machine.is_delivered(),
        ran,
        rests,
        checks: checks.collect(),
        crashes: u32::try_from(crashes.len()).unwrap_or(u32::MAX),
        exit_code: crashes.first().copied(),
        failure: machine.failure.clone(),
    };
    readiness(&seen, rules, now)
}

/// The exit code of a program that ended by itself.
pub(super) fn crash(event: &MachineEvent) -> Option<i32> {
    if event.kind != "exit" {
        return None;
    }
    let exit = event.request.as_ref()?.get("exit_event")?;
    let asked = exit.get("requested_stop")?.as_bool()?;
    let code = exit.get("exit_code")?.as_i64()?;
    (!asked).then(|| i32::try_from(code).unwrap_or(i32::MAX))
}
