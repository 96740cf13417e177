use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mayfly_control_store::{AutoscaleRule, Machine};
use mayfly_deploy::{FULL, Load, Scaled, Standing};
use mayfly_machine::MachineState;
use mayfly_types::{HostId, Region};

use super::loads::Picture;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::machines::checks::Checks;
use crate::releases::{counts_in, is_autoscaled};

/// The machines of a rule, and what they have to do.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) machines: Vec<Scaled>,
    pub(super) load: Load,
    /// What comes in at the region of a rule that has no machine there, in thousandths of a soft limit.
    pub(super) demand: u64,
    /// Where its first machine goes.
    pub(super) home: Region,
}

/// Looks at the machines of all rules of one app, in their order.
pub(super) async fn look(
    cloud: &Arc<Cloud>,
    rules: &[AutoscaleRule],
) -> Result<Vec<Group>, ApiError> {
    let app = cloud.store.app_by_id(rules[0].app_id).await?;
    let machines = cloud.machines_of(&app, false).await?;
    let hosts = cloud.store.hosts().await?;
    let unreachable = hosts.iter().filter(|host| !host.reach.reachable);
    let unreachable: BTreeSet<HostId> = unreachable.map(|host| host.id).collect();
    let checks = Checks::now(&cloud.hosts);
    let quiet_for = cloud.settings.autoscale.quiet_for;
    let picture = cloud.autoscale.loads.picture(cloud.now(), quiet_for);
    let app_home = cloud.home_of(&app).await?;
    let groups = rules.iter().map(|rule| {
        let own: Vec<&Machine> = machines
            .iter()
            .filter(|machine| counts_in(machine, &rule.group))
            .filter(|machine| is_of(rule, rules, &machine.region))
            .collect();
        let scaled = own.iter().map(|machine| Scaled {
            id: machine.id,
            region: machine.region.clone(),
            standing: match unreachable.contains(&machine.host_id) {
                true => Standing::Out,
                false => standing(machine, &checks),
            },
            load: picture
                .machines
                .get(&machine.id)
                .copied()
                .unwrap_or_default(),
            ours: is_autoscaled(machine),
            created_at: machine.created_at,
        });
        Group {
            machines: scaled.collect(),
            load: load(&picture, &own),
            demand: demand(&picture, rule, &machines),
            home: rule.region.clone().unwrap_or_else(|| app_home.clone()),
        }
    });
    Ok(groups.collect())
}

/// Whether a rule is for machines of this region: one that names no region is for those that no other of its group names.
fn is_of(rule: &AutoscaleRule, rules: &[AutoscaleRule], region: &Region) -> bool {
    let mut others = rules.iter().filter(|other| other.group == rule.group);
    match &rule.region {
        Some(own) => own == region,
        None => others.all(|other| other.region.as_ref() != Some(region)),
    }
}

fn standing(machine: &Machine, checks: &Checks) -> Standing {
    let is_critical = || {
        let checks = checks.of(machine);
        checks.iter().any(|check| check.status == "critical")
    };
    let wakes = machine
        .spec
        .services
        .iter()
        .any(|service| service.autostart);
    match machine.state {
        _ if machine.cordoned => Standing::Out,
        MachineState::Started if is_critical() => Standing::Out,
        MachineState::Started => Standing::Running,
        MachineState::Starting | MachineState::Updating | MachineState::Replacing => {
            Standing::Coming
        }
        MachineState::Stopping
        | MachineState::Stopped
        | MachineState::Suspending
        | MachineState::Suspended
            if wakes =>
        {
            Standing::Resting
        }
        _ => Standing::Out,
    }
}

/// What comes in at the rule's region and goes to the group's machines elsewhere, at the port where that is most.
fn demand(picture: &Picture, rule: &AutoscaleRule, machines: &[Machine]) -> u64 {
    let Some(region) = &rule.region else {
        return 0;
    };
    let group = machines.iter().filter(|one| counts_in(one, &rule.group));
    let services = group.flat_map(|machine| &machine.spec.services);
    let shares = services.map(|service| {
        let key = (rule.app_id, service.internal_port, region.clone());
        let load = picture.far_milli.get(&key).copied().unwrap_or_default();
        load * FULL / 1000 / u64::from(service.concurrency.soft.max(1))
    });
    shares.max().unwrap_or_default()
}

/// What waits at the ports of these machines.
fn load(picture: &Picture, machines: &[&Machine]) -> Load {
    let mut waiting = 0;
    let mut ports: BTreeMap<u16, u32> = BTreeMap::new();
    for service in machines.iter().flat_map(|machine| &machine.spec.services) {
        ports.insert(service.internal_port, service.concurrency.soft);
    }
    for (port, soft) in ports {
        let app = machines.first().map(|machine| machine.app_id);
        let queue = app.and_then(|app| picture.services.get(&(app, port)));
        let queue = queue.copied().unwrap_or_default();
        let share = queue.waiting_milli * FULL / 1000 / u64::from(soft.max(1));
        // One that was turned away waits no more, and is worse.
        waiting += match queue.refused {
            0 => share,
            _ => share.max(FULL),
        };
    }
    match (picture.servers, picture.silent) {
        (0, _) => Load::Unknown,
        (_, 0) => Load::All { waiting },
        _ => Load::AtLeast { waiting },
    }
}
