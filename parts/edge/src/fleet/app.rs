use std::sync::Arc;

use mayfly_edge_api::DirectoryApp;
use mayfly_host_api::CatalogEntry;
use mayfly_machine::{ConcurrencyKind, PortSpec, Protocol, ServiceSpec, StaticSpec};
use mayfly_types::{AppId, AppName, MachineId, NetworkId, OrgId};

use super::gate::Gate;
use super::seat::Member;

/// An app at one moment.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) app_id: AppId,
    pub(crate) name: AppName,
    pub(crate) org_id: OrgId,
    pub(crate) network: NetworkId,
    /// What the control plane says; `None` until it has said something.
    pub(crate) directory: Option<Arc<DirectoryApp>>,
    /// Sorted by machine.
    pub(crate) entries: Box<[Arc<CatalogEntry>]>,
    pub(crate) services: Box<[Arc<Service>]>,
}

impl App {
    /// The service that answers at a public port, with that port's treatment.
    pub(crate) fn port(&self, port: u16, protocol: Protocol) -> Option<(&Arc<Service>, &PortSpec)> {
        self.services
            .iter()
            .filter(|service| service.spec().protocol == protocol)
            .find_map(|service| {
                let public = service
                    .spec()
                    .ports
                    .iter()
                    .find(|spec| (spec.first..=spec.last).contains(&port))?;
                Some((service, public))
            })
    }

    /// Machines of the newest version first.
    pub(crate) fn machines_by_version(&self) -> impl Iterator<Item = MachineId> {
        let mut entries: Vec<&Arc<CatalogEntry>> = self.entries.iter().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse((!entry.cordoned, entry.instance_id)));
        entries.into_iter().map(|entry| entry.machine_id)
    }

    /// Files that the edge serves by itself, by the newest version of the machines that serve anything: a worker, or a
    /// console for a moment, has none and takes none away.
    pub(crate) fn statics(&self) -> &[StaticSpec] {
        let serving = self
            .entries
            .iter()
            .filter(|entry| !entry.services.is_empty());
        newest(serving).map_or(&[], |entry| &entry.statics)
    }
}

/// The entry of the newest version, if possible one that gets traffic.
pub(super) fn newest<'a>(
    entries: impl IntoIterator<Item = &'a Arc<CatalogEntry>>,
) -> Option<&'a Arc<CatalogEntry>> {
    entries
        .into_iter()
        .max_by_key(|entry| (!entry.cordoned, entry.instance_id))
}

/// One way into an app: the machines that serve it, with what their newest version says about it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) app: AppName,
    /// Nearest first.
    pub(crate) members: Box<[Member]>,
    pub(crate) gate: Arc<Gate>,
    entry: Arc<CatalogEntry>,
    /// In the entry.
    index: usize,
}

impl Service {
    pub(super) fn new(
        entry: Arc<CatalogEntry>,
        index: usize,
        members: Vec<Member>,
        gate: Arc<Gate>,
    ) -> Service {
        Service {
            app: entry.app_name.clone(),
            members: members.into_boxed_slice(),
            gate,
            entry,
            index,
        }
    }

    pub(crate) fn spec(&self) -> &ServiceSpec {
        spec(&self.entry, self.index)
    }

    /// Where a machine is among the members.
    pub(crate) fn place_of(&self, machine: MachineId) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.seat.backend.machine == machine)
    }

    /// Whether connections to its machines may be kept for the next request.
    pub(crate) fn pools(&self) -> bool {
        self.spec().concurrency.kind == ConcurrencyKind::Requests
    }
}

pub(super) fn spec(entry: &CatalogEntry, index: usize) -> &ServiceSpec {
    &entry.services[index]
}
