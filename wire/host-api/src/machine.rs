use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_machine::{
    Actor, CheckStatus, EventKind, Launch, MachineSpec, MachineState, ServiceSpec, Signal,
    StaticSpec,
};
use mayfly_types::{
    AppId, AppName, HostId, HostSeq, InstanceId, MachineId, NetworkId, OrgId, OrgSlug, Region,
    Secret, Timestamp,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateMachine {
    pub machine_id: MachineId,
    pub instance_id: InstanceId,
    pub name: String,
    pub app_id: AppId,
    pub app_name: AppName,
    pub org_id: OrgId,
    pub org_slug: OrgSlug,
    pub network: NetworkId,
    pub region: Region,
    pub spec: MachineSpec,
    /// App secrets at the version the machine shall start with.
    pub secrets: BTreeMap<String, Secret>,
    pub launch: Launch,
    /// Created without being given traffic, until it is uncordoned.
    pub cordoned: bool,
    pub by: Actor,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateMachine {
    pub instance_id: InstanceId,
    pub spec: MachineSpec,
    pub secrets: BTreeMap<String, Secret>,
    /// `Skip` leaves a stopped machine stopped; a running one is always restarted.
    pub launch: Launch,
    pub by: Actor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopMachine {
    /// `None` uses the machine's own stop rule.
    pub signal: Option<Signal>,
    pub patience: Option<Duration>,
    pub by: Actor,
}

impl StopMachine {
    /// As the machine's own stop rule says.
    pub const fn by_rule(by: Actor) -> Self {
        StopMachine {
            signal: None,
            patience: None,
            by,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartMachine {
    /// Kill at once instead of asking.
    pub force: bool,
    pub signal: Option<Signal>,
    pub patience: Option<Duration>,
    pub by: Actor,
}

/// What a host says about one of its machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineReport {
    pub machine_id: MachineId,
    pub host_id: HostId,
    /// Position of the newest change contained; a reader that has applied it has seen this.
    pub seq: HostSeq,
    pub instance_id: InstanceId,
    pub state: MachineState,
    pub since: Timestamp,
    /// Fully expanded IPv6, as the API prints it.
    pub private_ip: String,
    /// First process of the guest on the host, while one runs.
    pub pid: Option<u32>,
    /// Not to be given traffic.
    pub cordoned: bool,
    /// Why the machine is `failed` or `launch_failed`.
    pub failure: Option<String>,
    pub containers: Vec<ContainerReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerReport {
    pub name: String,
    pub state: String,
}

/// One reported change, with the state after it. The report is complete: applying the newest is enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostEvent {
    pub seq: HostSeq,
    pub at: Timestamp,
    pub machine_id: MachineId,
    /// `None` when the change is of no interest to users (an intermediate phase).
    pub event: Option<EventKind>,
    pub by: Actor,
    pub report: MachineReport,
}

/// One run of a scheduled machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRun {
    pub due_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub exit_code: Option<i32>,
    /// `started`, `exited`, `skipped` (the previous run was still going) or `failed`.
    pub outcome: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    pub host_id: HostId,
    pub region: Region,
    /// Names the store of images; hosts of the same name share one.
    pub image_store: String,
    pub machines: usize,
    pub running: usize,
    pub cgroups: String,
    pub memory_mib: u64,
    pub cpus: u32,
}

/// What edges and names need to know of a machine; soft state that is published whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    pub machine_id: MachineId,
    pub instance_id: InstanceId,
    pub app_id: AppId,
    pub app_name: AppName,
    pub org_id: OrgId,
    pub network: NetworkId,
    pub host_id: HostId,
    pub region: Region,
    pub private_ip: std::net::Ipv6Addr,
    /// Reachable from this host only. Most programs listen on 0.0.0.0, so an edge on the same host tries it first.
    pub ipv4: std::net::Ipv4Addr,
    pub state: MachineState,
    pub cordoned: bool,
    pub services: Vec<ServiceSpec>,
    pub statics: Vec<StaticSpec>,
    pub metadata: BTreeMap<String, String>,
    /// Whether the machine's address is given out by name.
    pub in_dns: bool,
    /// Where `min_machines_running` counts: the machine's `PRIMARY_REGION`.
    pub primary_region: Option<Region>,
    pub checks: Vec<CheckReport>,
}

/// The last result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// `servicecheck-<nn>-<http|tcp>-<port>` for checks of services, the given name for others.
    pub name: String,
    /// The service the check belongs to; only these gate routing.
    pub service_port: Option<u16>,
    pub status: CheckStatus,
    pub output: String,
    /// When it got this status.
    pub updated_at: Timestamp,
}
