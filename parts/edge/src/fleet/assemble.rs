//! Tables out of catalogs and the directory: only what changed is looked at.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use mayfly_edge_api::{Directory, DirectoryApp, Reach};
use mayfly_host_api::{Catalog, CatalogEntry};
use mayfly_machine::Protocol;
use mayfly_routing::round_trip;
use mayfly_types::{AppName, HostId, MachineId, Region};
use tokio::sync::mpsc;

use super::app::{App, Service, newest, spec};
use super::backend::Backend;
use super::diff::diff;
use super::gate::Gate;
use super::key::Key;
use super::seat::{Member, Seat};
use super::table::Table;

/// Makes each table from the one before it.
pub(super) struct Assembler {
    home: Region,
    wakes: mpsc::UnboundedSender<Arc<Backend>>,
    seed: u32,
    /// By source, as they were at the last table.
    catalogs: Vec<Catalog>,
    others: BTreeMap<HostId, Catalog>,
    directory: Arc<Directory>,
    /// Catalogs of tables that are gone. Letting go of a long one takes longer than making a table.
    past: Vec<Catalog>,
    /// Whether there was a table already: machines that are seen later are new.
    is_started: bool,
}

/// What changed of one app.
#[derive(Default)]
struct Change {
    gone: Vec<Arc<CatalogEntry>>,
    come: Vec<Arc<CatalogEntry>>,
    directory: Option<Option<Arc<DirectoryApp>>>,
}

impl Assembler {
    pub(super) fn new(
        home: Region,
        sources: usize,
        seed: u32,
        wakes: mpsc::UnboundedSender<Arc<Backend>>,
    ) -> Assembler {
        Assembler {
            home,
            wakes,
            seed,
            catalogs: vec![Catalog::default(); sources],
            others: BTreeMap::new(),
            directory: Arc::default(),
            past: Vec::new(),
            is_started: false,
        }
    }

    /// The table after `table`; `None` if nothing changed. Apps that did are returned by name.
    pub(super) fn next(
        &mut self,
        table: &Table,
        catalogs: Vec<Catalog>,
        others: BTreeMap<HostId, Catalog>,
        directory: Arc<Directory>,
    ) -> Option<(Table, Vec<AppName>)> {
        let mut changes: HashMap<AppName, Change> = HashMap::new();
        let none = Catalog::default();
        let own = self.catalogs.iter().zip(&catalogs);
        let stayed = others
            .iter()
            .map(|(id, new)| (self.others.get(id).unwrap_or(&none), new));
        let left = self
            .others
            .iter()
            .filter(|(id, _)| !others.contains_key(id));
        let left = left.map(|(_, old)| (old, &none));
        for (old, new) in own.chain(stayed).chain(left) {
            if Arc::ptr_eq(old, new) {
                continue;
            }
            let (gone, come) = diff(old, new);
            for entry in gone {
                let change = changes.entry(entry.app_name.clone()).or_default();
                change.gone.push(Arc::clone(entry));
            }
            for entry in come {
                let change = changes.entry(entry.app_name.clone()).or_default();
                change.come.push(Arc::clone(entry));
            }
        }
        let mut next = table.clone();
        if !Arc::ptr_eq(&self.directory, &directory) {
            let (gone, come) = diff(&self.directory.apps, &directory.apps);
            for app in &gone {
                forget_names(&mut next, app);
                changes.entry(app.name.clone()).or_default().directory = Some(None);
            }
            for app in come {
                learn_names(&mut next, app);
                changes.entry(app.name.clone()).or_default().directory =
                    Some(Some(Arc::clone(app)));
            }
        }
        self.past
            .extend(std::mem::replace(&mut self.catalogs, catalogs));
        let others = std::mem::replace(&mut self.others, others);
        self.past.extend(others.into_values());
        self.directory = directory;
        if changes.is_empty() {
            return None;
        }
        let mut names = Vec::with_capacity(changes.len());
        for (name, change) in changes {
            self.apply(&mut next, &name, change);
            names.push(name);
        }
        self.is_started = true;
        Some((next, names))
    }

    /// Lets go of what tables that are gone were made from; to be called once the next one is published.
    pub(super) fn forget_past(&mut self) {
        self.past.clear();
    }

    fn backend(&self, entry: &CatalogEntry) -> Backend {
        let is_elsewhere = self.others.contains_key(&entry.host_id);
        Backend::new(entry, self.is_started, is_elsewhere)
    }

    fn apply(&self, table: &mut Table, name: &AppName, change: Change) {
        let old = table.by_name(name.as_str()).cloned();
        let mut entries: BTreeMap<MachineId, Arc<CatalogEntry>> = old
            .iter()
            .flat_map(|app| app.entries.iter())
            .map(|entry| (entry.machine_id, Arc::clone(entry)))
            .collect();
        for entry in &change.gone {
            // One that has moved is in another catalog already.
            if entries
                .get(&entry.machine_id)
                .is_some_and(|known| Arc::ptr_eq(known, entry))
            {
                entries.remove(&entry.machine_id);
            }
        }
        let mut began = Vec::new();
        for entry in change.come {
            let id = entry.machine_id;
            match table.machines.get(&id).filter(|known| known.is_of(&entry)) {
                Some(known) => {
                    if known.observe(&entry) {
                        began.push(id);
                    }
                }
                None => table.machines.insert(id, Arc::new(self.backend(&entry))),
            }
            entries.insert(id, entry);
        }
        for entry in &change.gone {
            if !entries.contains_key(&entry.machine_id) {
                table.machines.remove(&entry.machine_id);
            }
        }
        let directory = change
            .directory
            .unwrap_or_else(|| old.as_ref().and_then(|app| app.directory.clone()));
        let entries: Box<[Arc<CatalogEntry>]> = entries.into_values().collect();
        let services = self.services(table, old.as_deref(), &entries, &began);
        if let Some(old) = &old {
            let kept = |gate: &Arc<Gate>| {
                services
                    .iter()
                    .any(|service| Arc::ptr_eq(&service.gate, gate))
            };
            for service in &old.services {
                if !kept(&service.gate) {
                    service.gate.close();
                }
            }
        }
        let about = |entry: &CatalogEntry| (entry.app_id, entry.org_id, entry.network);
        let identity = directory
            .as_ref()
            .map(|app| (app.app_id, app.org_id, app.network))
            .or_else(|| newest(&entries).map(|entry| about(entry)));
        match identity {
            None => table.apps.remove(name.as_str().as_bytes()),
            Some((app_id, org_id, network)) => {
                let app = App {
                    app_id,
                    name: name.clone(),
                    org_id,
                    network,
                    directory,
                    entries,
                    services: services.into_boxed_slice(),
                };
                table.apps.insert(Key::new(name.as_str()), Arc::new(app));
            }
        }
    }

    fn services(
        &self,
        table: &Table,
        old: Option<&App>,
        entries: &[Arc<CatalogEntry>],
        began: &[MachineId],
    ) -> Vec<Arc<Service>> {
        let known = known_seats(old);
        groups(entries)
            .into_iter()
            .filter_map(|group| {
                let mut gate = None;
                let mut members = Vec::with_capacity(group.len());
                for part in &group {
                    let spec = spec(part.entry, part.index);
                    let id = part.entry.machine_id;
                    let Some(backend) = table.machines.get(&id) else {
                        continue;
                    };
                    let before = known
                        .get(&(id, spec.internal_port, spec.protocol))
                        .filter(|(seat, _)| Arc::ptr_eq(&seat.backend, backend));
                    let seat = match before {
                        Some((seat, its_gate)) => {
                            gate.get_or_insert_with(|| Arc::clone(its_gate));
                            Arc::clone(seat)
                        }
                        None => Arc::new(Seat::new(Arc::clone(backend), spec.internal_port)),
                    };
                    seat.observe(part.entry, began.contains(&id));
                    members.push(Member {
                        seat,
                        soft: spec.concurrency.soft.max(1),
                        hard: spec.concurrency.hard.unwrap_or(u32::MAX),
                        distance: round_trip(&self.home, &backend.region),
                        autostart: spec.autostart,
                    });
                }
                members.sort_by_key(|member| member.distance);
                let gate =
                    gate.unwrap_or_else(|| Arc::new(Gate::new(self.seed, self.wakes.clone())));
                let leading = group
                    .iter()
                    .max_by_key(|part| (!part.entry.cordoned, part.entry.instance_id))?;
                let service = Arc::new(Service::new(
                    Arc::clone(leading.entry),
                    leading.index,
                    members,
                    gate,
                ));
                service.gate.lead_to(&service);
                Some(service)
            })
            .collect()
    }
}

/// What lives on from one table to the next, by machine, port and protocol.
type KnownSeats<'a> = HashMap<(MachineId, u16, Protocol), (&'a Arc<Seat>, &'a Arc<Gate>)>;

fn known_seats(old: Option<&App>) -> KnownSeats<'_> {
    old.into_iter()
        .flat_map(|app| app.services.iter())
        .flat_map(|service| {
            service.members.iter().map(|member| {
                let seat = &member.seat;
                let key = (seat.backend.machine, seat.port, service.spec().protocol);
                (key, (seat, &service.gate))
            })
        })
        .collect()
}

/// One service of one machine.
struct Part<'a> {
    entry: &'a Arc<CatalogEntry>,
    index: usize,
}

impl Part<'_> {
    fn is_like(&self, other: &Part<'_>) -> bool {
        let (one, other) = (spec(self.entry, self.index), spec(other.entry, other.index));
        let share_port = |first: u16, last: u16| {
            other
                .ports
                .iter()
                .any(|port| port.first <= last && first <= port.last)
        };
        one.protocol == other.protocol
            && (one.internal_port == other.internal_port
                || one
                    .ports
                    .iter()
                    .any(|port| share_port(port.first, port.last)))
    }
}

/// Machines of one app that answer at the same public port, or by the same port of their own, are one service, though
/// their versions may differ.
fn groups(entries: &[Arc<CatalogEntry>]) -> Vec<Vec<Part<'_>>> {
    // Each with one part of every kind that is in it, so that machines of one version cost one comparison.
    type Kinds = Vec<(usize, Protocol, u16)>;
    let mut groups: Vec<(Kinds, Vec<Part<'_>>)> = Vec::new();
    for entry in entries {
        for index in 0..entry.services.len() {
            let part = Part { entry, index };
            let mut matching: Vec<usize> = groups
                .iter()
                .enumerate()
                .filter(|(_, (kinds, parts))| {
                    kinds
                        .iter()
                        .any(|(sample, ..)| parts[*sample].is_like(&part))
                })
                .map(|(place, _)| place)
                .collect();
            let target = match matching.first() {
                Some(first) => *first,
                None => {
                    groups.push(Default::default());
                    groups.len() - 1
                }
            };
            // The part joins groups that had nothing to do with each other.
            while matching.len() > 1 {
                let (_, merged) = groups.remove(matching.pop().unwrap_or(target));
                for part in merged {
                    add(&mut groups[target], part);
                }
            }
            add(&mut groups[target], part);
        }
    }
    groups.into_iter().map(|(_, parts)| parts).collect()
}

fn add<'a>(group: &mut (Vec<(usize, Protocol, u16)>, Vec<Part<'a>>), part: Part<'a>) {
    let one = spec(part.entry, part.index);
    let is_known = group.0.iter().any(|(sample, protocol, port)| {
        *protocol == one.protocol
            && *port == one.internal_port
            && spec(group.1[*sample].entry, group.1[*sample].index).ports == one.ports
    });
    if !is_known {
        group
            .0
            .push((group.1.len(), one.protocol, one.internal_port));
    }
    group.1.push(part);
}

fn addresses(app: &DirectoryApp) -> impl Iterator<Item = IpAddr> + '_ {
    app.addresses
        .iter()
        .filter(|address| address.reach != Reach::Shared)
        .map(|address| address.ip)
}

fn forget_names(table: &mut Table, app: &DirectoryApp) {
    for host in &app.hostnames {
        table.hosts.remove(host.as_str());
    }
    for ip in addresses(app) {
        table.addresses.remove(&ip);
    }
}

fn learn_names(table: &mut Table, app: &DirectoryApp) {
    for host in &app.hostnames {
        table.hosts.insert(host.as_str().into(), app.name.clone());
    }
    for ip in addresses(app) {
        table.addresses.insert(ip, app.name.clone());
    }
}
