use mayfly_control_store::{Machine, MachineEvent};
use mayfly_types::Timestamp;
use mayfly_wire::{ContainerStatus, MachineImage, MachineLease};

use super::checks::Checks;

/// How much of a machine is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Full,
    /// Without its configuration.
    Summary,
}

/// A machine as the API shows it.
pub(super) fn view(
    machine: Machine,
    events: Vec<MachineEvent>,
    detail: Detail,
    checks: &Checks,
    now: Timestamp,
) -> mayfly_wire::Machine {
    let lease = machine.lease_at(now).map(|lease| MachineLease {
        owner: lease.owner.clone(),
        description: lease.description.clone().unwrap_or_default(),
        expires_at: lease.expires_at.as_millis() / 1000,
    });
    let checks = checks.of(&machine);
    let containers = machine.containers.into_iter();
    mayfly_wire::Machine {
        id: machine.id.to_string(),
        name: machine.name.to_string(),
        state: machine.state.to_string(),
        region: machine.region.to_string(),
        image_ref: MachineImage::new(&machine.image, machine.image_labels),
        instance_id: machine.instance_id.to_string(),
        version: machine.instance_id.to_string(),
        private_ip: machine.private_ip,
        created_at: Some(machine.created_at),
        updated_at: Some(machine.updated_at),
        config: (detail == Detail::Full).then_some(machine.config),
        events: events.into_iter().map(event_view).collect(),
        checks,
        nonce: None,
        lease,
        host_status: "ok".to_owned(),
        cordoned: machine.cordoned,
        containers: containers
            .map(|container| ContainerStatus {
                name: container.name,
                state: container.state,
            })
            .collect(),
        failure: machine.failure,
        app_name: None,
    }
}

/// An entry of a machine's history as the API shows it.
pub(super) fn event_view(event: MachineEvent) -> mayfly_wire::MachineEvent {
    mayfly_wire::MachineEvent {
        id: event.id,
        event_type: event.kind,
        status: event.status,
        // Stored in this shape.
        request: event
            .request
            .and_then(|request| serde_json::from_value(request).ok()),
        source: event.source,
        timestamp: event.at.as_millis(),
    }
}
