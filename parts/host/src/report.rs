use mayfly_host_api::{CatalogEntry, CheckReport, HostEvent, MachineReport};
use mayfly_host_store::Change;
use mayfly_machine::{Actor, Decision, Machine, MachineState, expanded};
use mayfly_types::{HostId, HostSeq, Timestamp};

/// What the host says about a machine, as of report `seq`.
pub(crate) fn report(machine: &Machine, host_id: HostId, seq: HostSeq) -> MachineReport {
    MachineReport {
        machine_id: machine.identity.machine_id,
        host_id,
        seq,
        instance_id: machine.version.instance_id,
        state: machine.state(),
        since: machine.since,
        private_ip: expanded(machine.identity.private_ip),
        pid: machine.phase.guest().map(|guest| guest.pid),
        cordoned: machine.cordoned,
        failure: machine.phase.failure().map(str::to_owned),
        containers: Vec::new(),
    }
}

/// What is stored for a decision; `None` if nothing changes. A change that shows outside is always reported, with an
/// event for users only if it means something to them.
pub(crate) fn change(
    before: Option<&Machine>,
    decision: Decision,
    host_id: HostId,
    at: Timestamp,
) -> Option<Change> {
    let Decision {
        next,
        happenings,
        runs,
    } = decision;
    if before == Some(&next) && happenings.is_empty() && runs.is_empty() {
        return None;
    }
    let shown = report(&next, host_id, HostSeq::default());
    let event = |event, by| HostEvent {
        seq: HostSeq::default(),
        at,
        machine_id: next.identity.machine_id,
        event,
        by,
        report: shown.clone(),
    };
    let mut reports: Vec<HostEvent> = happenings
        .into_iter()
        .map(|happening| event(Some(happening.kind), happening.by))
        .collect();
    let looked = before.map(|machine| report(machine, host_id, HostSeq::default()));
    if reports.is_empty() && looked.as_ref() != Some(&shown) {
        reports.push(event(None, Actor::Platform));
    }
    Some(Change {
        at,
        next,
        reports,
        runs,
    })
}

/// What edges need to know; `None` for machines that are gone.
pub(crate) fn catalog_entry(
    machine: &Machine,
    host_id: HostId,
    checks: &[CheckReport],
) -> Option<CatalogEntry> {
    let state = machine.state();
    if matches!(state, MachineState::Destroying | MachineState::Destroyed) {
        return None;
    }
    let spec = &machine.version.spec;
    // A standby waits for its machine to fail, and one that was never launched for its owner: requests start neither.
    let waits = !spec.standbys.is_empty() || machine.launches == 0;
    let mut services = spec.services.clone();
    for service in &mut services {
        service.autostart &= !waits;
    }
    Some(CatalogEntry {
        machine_id: machine.identity.machine_id,
        instance_id: machine.version.instance_id,
        app_id: machine.identity.app_id,
        app_name: machine.identity.app_name.clone(),
        org_id: machine.identity.org_id,
        network: machine.identity.network,
        host_id,
        region: machine.identity.region.clone(),
        private_ip: machine.identity.private_ip,
        ipv4: machine.identity.ipv4,
        state,
        cordoned: machine.cordoned,
        services,
        statics: spec.statics.clone(),
        metadata: spec.metadata.clone(),
        in_dns: !spec.dns.skip_registration,
        primary_region: spec
            .env
            .get("PRIMARY_REGION")
            .and_then(|region| region.parse().ok()),
        checks: checks.to_vec(),
    })
}
