use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mayfly_host_api::{
    Actor, Catalog, Connection, CreateMachine, ExecRequest, ExecSession, HostApi, HostError,
    HostEvent, HostStatus, ImageInfo, ImageSource, Launch, LogPage, LogQuery, MachineReport,
    MemoryReport, MemoryRequest, ProcessInfo, Pruned, PullProgress, RegistryLogin, RestartMachine,
    ScheduleRun, StopMachine, UpdateMachine, Usage, VolumeExtended, VolumeReport, VolumeSpec,
};
use mayfly_host_store::{AddressPool, Stored};
use mayfly_image::Pruning;
use mayfly_machine::{Event, Identity, Machine, MachineState, Phase, Signal, Version, private_ip};
use mayfly_mesh::Ipv4Pool;
use mayfly_types::{Digest, HostSeq, ImageRef, MachineId, VolumeId};
use tokio::sync::watch;

use crate::host::{Host, Shared};
use crate::logs::Writing;
use crate::{error, logs, private, report};

/// How long a prune waits for machines that are being destroyed, which need their images until they are gone.
const DESTROYING_MAX: Duration = Duration::from_secs(15);

#[async_trait]
impl HostApi for Host {
    async fn create(&self, request: CreateMachine) -> Result<MachineReport, HostError> {
        if request.launch == Launch::Now && self.0.registry.find(request.machine_id).is_err() {
            self.0.admit(None, request.spec.size.memory_mib)?;
        }
        let shared = self.0.clone();
        self.0
            .detached(
                "create machine",
                Box::pin(async move { shared.create(request).await }),
            )
            .await
    }

    async fn update(
        &self,
        machine: MachineId,
        request: UpdateMachine,
    ) -> Result<MachineReport, HostError> {
        let stored = self.stored(machine)?;
        if request.launch == Launch::Now || stored.machine.phase.launch_id().is_some() {
            self.0.admit(Some(machine), request.spec.size.memory_mib)?;
        }
        let shared = self.0.clone();
        let work = async move { shared.update(machine, request).await };
        self.0.detached("update machine", Box::pin(work)).await
    }

    async fn start(&self, machine: MachineId, by: Actor) -> Result<MachineReport, HostError> {
        let stored = self.stored(machine)?;
        let memory_mib = stored.machine.version.spec.size.memory_mib;
        if stored.machine.phase.launch_id().is_none() {
            self.0.admit(Some(machine), memory_mib)?;
        }
        self.0.request(machine, Event::Start { by }).await
    }

    async fn stop(
        &self,
        machine: MachineId,
        request: StopMachine,
    ) -> Result<MachineReport, HostError> {
        let event = Event::Stop {
            signal: request.signal,
            patience: request.patience,
            by: request.by,
        };
        self.0.request(machine, event).await
    }

    async fn restart(
        &self,
        machine: MachineId,
        request: RestartMachine,
    ) -> Result<MachineReport, HostError> {
        let event = Event::Restart {
            force: request.force,
            signal: request.signal,
            patience: request.patience,
            by: request.by,
        };
        self.0.request(machine, event).await
    }

    async fn suspend(&self, machine: MachineId, by: Actor) -> Result<MachineReport, HostError> {
        self.0.request(machine, Event::Suspend { by }).await
    }

    async fn cordon(
        &self,
        machine: MachineId,
        cordoned: bool,
        by: Actor,
    ) -> Result<MachineReport, HostError> {
        self.0
            .request(machine, Event::Cordon { cordoned, by })
            .await
    }

    async fn signal(&self, machine: MachineId, signal: Signal) -> Result<(), HostError> {
        let state = self.started(machine)?;
        let sent = self.0.deps.driver.signal(machine, signal).await;
        sent.map_err(|source| error::driver(format!("signal machine {machine}"), state, source))
    }

    async fn destroy(
        &self,
        machine: MachineId,
        kill: bool,
        by: Actor,
    ) -> Result<MachineReport, HostError> {
        self.0.request(machine, Event::Destroy { kill, by }).await
    }

    async fn exec(
        &self,
        machine: MachineId,
        request: ExecRequest,
    ) -> Result<ExecSession, HostError> {
        let state = self.started(machine)?;
        let session = self.0.deps.driver.exec(machine, request).await;
        session.map_err(|source| {
            error::driver(format!("run a program in machine {machine}"), state, source)
        })
    }

    async fn connect(&self, target: SocketAddrV6) -> Result<Connection, HostError> {
        private::connect(target).await
    }

    async fn ping(&self, target: Ipv6Addr, patience: Duration) -> Result<Duration, HostError> {
        let token = self.0.deps.entropy.bytes();
        private::ping(target, patience, token).await
    }

    async fn ps(&self, machine: MachineId) -> Result<Vec<ProcessInfo>, HostError> {
        let state = self.started(machine)?;
        let listed = self.0.deps.driver.ps(machine).await;
        listed.map_err(|source| {
            error::driver(
                format!("list the processes of machine {machine}"),
                state,
                source,
            )
        })
    }

    async fn usage(
        &self,
        machines: Vec<MachineId>,
    ) -> Result<BTreeMap<MachineId, Usage>, HostError> {
        let measures = &self.0.measures;
        let known = machines.into_iter();
        let known = known.filter_map(|id| Some((id, measures.usage(id)?)));
        Ok(known.collect())
    }

    async fn memory(
        &self,
        machine: MachineId,
        request: MemoryRequest,
    ) -> Result<MemoryReport, HostError> {
        let state = match request {
            // A suspended one has its memory, too.
            MemoryRequest::Read => self.stored(machine)?.machine.state(),
            MemoryRequest::Limit { mib } => {
                self.0.admit(Some(machine), mib)?;
                self.started(machine)?
            }
            MemoryRequest::Reclaim { .. } => self.started(machine)?,
        };
        let answered = self.0.deps.driver.memory(machine, request).await;
        answered.map_err(|source| {
            error::driver(
                format!("set the memory of machine {machine}"),
                state,
                source,
            )
        })
    }

    async fn report(&self, machine: MachineId) -> Result<MachineReport, HostError> {
        let stored = self.stored(machine)?;
        let mut report = self.0.report(&stored);
        let has_containers = !stored.machine.version.spec.containers.is_empty();
        if has_containers && stored.machine.state() == MachineState::Started {
            // A guest that ends right now has no containers to report.
            let containers = self.0.deps.driver.containers(machine).await;
            report.containers = containers.unwrap_or_default();
        }
        Ok(report)
    }

    async fn events_after(
        &self,
        after: HostSeq,
        limit: usize,
    ) -> Result<Vec<HostEvent>, HostError> {
        let reports = self.0.store.reports_after(after, limit).await;
        reports.map_err(|source| error::store("read reports", source))
    }

    fn latest(&self) -> watch::Receiver<HostSeq> {
        self.0.registry.latest()
    }

    fn catalog(&self) -> watch::Receiver<Catalog> {
        self.0.registry.catalog()
    }

    async fn schedule_runs(
        &self,
        machine: MachineId,
        limit: usize,
    ) -> Result<Vec<ScheduleRun>, HostError> {
        self.0.registry.find(machine)?;
        let runs = self.0.store.runs(machine, limit).await;
        runs.map_err(|source| error::store("read schedule runs", source))
    }

    async fn logs(&self, query: LogQuery) -> Result<LogPage, HostError> {
        let writing = query
            .machines
            .iter()
            .map(
                |(machine, _)| match self.stored(*machine)?.machine.state() {
                    MachineState::Destroyed => Ok(Writing::Ended),
                    _ => Ok(Writing::Open),
                },
            )
            .collect::<Result<Vec<Writing>, HostError>>()?;
        logs::page(&self.0.config, query, &writing).await
    }

    async fn resolve_image(
        &self,
        image: &ImageRef,
        login: Option<RegistryLogin>,
    ) -> Result<ImageInfo, HostError> {
        let images = self.0.deps.images.clone();
        let resolved = images.resolve(image, login.as_ref()).await;
        let pinned =
            resolved.map_err(|source| error::image(format!("resolve image `{image}`"), source))?;
        let info = pinned.info.clone();
        let now = self.0.now();
        self.0
            .fresh_pins
            .lock()
            .expect("no holder of this lock panics")
            .push_back((now, pinned));
        if !info.ready {
            let name = info.image.clone();
            self.0
                .tasks
                .spawn_guarded("host.pull", |stop| async move {
                    // Its progress and failure show among the pulls; whoever needs the image asks again.
                    let pull = images.ensure(&name, login.as_ref());
                    stop.run_until_cancelled(pull).await;
                })
                .await;
        }
        Ok(info)
    }

    async fn import_image(&self, source: ImageSource) -> Result<Vec<ImageInfo>, HostError> {
        let images = &self.0.deps.images;
        let imported = images.import(&source.path, source.name.as_ref()).await;
        let pins = imported.map_err(|error| error::image("import the image".to_owned(), error))?;
        Ok(pins.into_iter().map(|pin| pin.info).collect())
    }

    async fn images(&self) -> Result<Vec<ImageInfo>, HostError> {
        let machines = self.0.registry.all();
        let mut images = self.0.deps.images.list();
        for image in &mut images {
            image.used_by = machines
                .iter()
                .filter(|stored| needed(&stored.machine).contains(&image.digest))
                .count();
        }
        Ok(images)
    }

    async fn pulls(&self) -> Vec<PullProgress> {
        self.0.deps.images.pulls()
    }

    async fn prune_images(&self, keep: Vec<ImageRef>) -> Result<Pruned, HostError> {
        let (pruning, in_use) = self.0.begin_prune().await;
        let pruned = pruning.remove_except(&in_use, &keep).await;
        pruned.map_err(|source| error::image("prune images".to_owned(), source))
    }

    async fn create_volume(&self, spec: VolumeSpec) -> Result<VolumeReport, HostError> {
        let shared = self.0.clone();
        let work = async move { shared.create_volume(spec).await };
        self.0.detached("create volume", Box::pin(work)).await
    }

    async fn extend_volume(
        &self,
        volume: VolumeId,
        size_gib: u32,
    ) -> Result<VolumeExtended, HostError> {
        let shared = self.0.clone();
        let work = async move { shared.extend_volume(volume, size_gib).await };
        self.0.detached("extend volume", Box::pin(work)).await
    }

    async fn destroy_volume(&self, volume: VolumeId) -> Result<(), HostError> {
        let shared = self.0.clone();
        let work = async move { shared.destroy_volume(volume).await };
        self.0.detached("destroy volume", Box::pin(work)).await
    }

    async fn volume(&self, volume: VolumeId) -> Result<VolumeReport, HostError> {
        self.0.volume(volume).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeReport>, HostError> {
        self.0.volumes().await
    }

    async fn status(&self) -> HostStatus {
        let machines = self.0.registry.all();
        let state = |stored: &Arc<Stored>| stored.machine.state();
        let server = &self.0.deps.server;
        HostStatus {
            host_id: self.0.host_id,
            region: self.0.config.region.clone(),
            image_store: self.0.deps.images.directory().display().to_string(),
            machines: machines
                .iter()
                .filter(|stored| state(stored) != MachineState::Destroyed)
                .count(),
            running: machines
                .iter()
                .filter(|stored| state(stored) == MachineState::Started)
                .count(),
            cgroups: server.cgroups.clone(),
            memory_mib: server.memory_mib,
            cpus: server.cpus,
        }
    }
}

impl Host {
    fn stored(&self, machine: MachineId) -> Result<Arc<Stored>, HostError> {
        let handle = self.0.registry.find(machine)?;
        let stored = handle.stored.borrow().clone();
        Ok(stored)
    }

    /// The machine's state if a guest runs that can be spoken to.
    fn started(&self, machine: MachineId) -> Result<MachineState, HostError> {
        let stored = self.stored(machine)?;
        match stored.machine.phase {
            Phase::Started { .. } | Phase::Updating { .. } | Phase::Stopping { .. } => {
                Ok(stored.machine.state())
            }
            _ => Err(error::not_started(stored.machine.state())),
        }
    }
}

impl Shared {
    /// A prune, and the images that machines need.
    pub(crate) async fn begin_prune(&self) -> (Pruning, HashSet<Digest>) {
        self.deps.housemates.let_go(DESTROYING_MAX).await;
        // Begun before the machines are read: an image that a new machine needs is either seen there or pinned.
        let pruning = self.deps.images.begin_prune().await;
        (pruning, self.deps.housemates.images_in_use())
    }

    async fn update(
        &self,
        machine: MachineId,
        request: UpdateMachine,
    ) -> Result<MachineReport, HostError> {
        let _volumes = self.attach(machine, &request.spec).await?;
        let event = Event::Update {
            version: Box::new(Version {
                instance_id: request.instance_id,
                spec: request.spec,
                secrets: request.secrets,
            }),
            launch: request.launch,
            by: request.by,
        };
        self.request(machine, event).await
    }

    async fn create(self: &Arc<Self>, request: CreateMachine) -> Result<MachineReport, HostError> {
        let id = request.machine_id;
        // One that is here has its volumes.
        let _volumes = match self.registry.find(id) {
            Ok(_) => Vec::new(),
            Err(_) => self.attach(id, &request.spec).await?,
        };
        let (host_id, now) = (self.host_id, self.now());
        let build = move |number, ipv4| {
            let identity = Identity {
                machine_id: id,
                name: request.name,
                app_id: request.app_id,
                app_name: request.app_name,
                org_id: request.org_id,
                org_slug: request.org_slug,
                network: request.network,
                region: request.region,
                private_ip: private_ip(request.network, host_id, number),
                ipv4,
                created_at: now,
            };
            let version = Version {
                instance_id: request.instance_id,
                spec: request.spec,
                secrets: request.secrets,
            };
            let decision = Machine::create(
                identity,
                version,
                request.launch,
                request.cordoned,
                request.by,
            );
            report::change(None, decision, host_id, now)
                .expect("a creation changes something: there was nothing before")
        };
        let inserted = self
            .store
            .insert(id, address_pool(self.deps.ipv4_pool), build)
            .await;
        let stored = inserted.map_err(|source| error::journal(id, source))?;
        let handle = self.take_on(stored).await;
        let stored = handle.stored.borrow().clone();
        Ok(self.report(&stored))
    }
}

/// All of a pool but its network and broadcast addresses.
fn address_pool(pool: Ipv4Pool) -> AddressPool {
    AddressPool {
        first: pool.nth(0).expect("a pool is not empty"),
        count: (1 << (32 - Ipv4Pool::PREFIX_LENGTH)) - 2,
    }
}

/// The images a machine cannot do without.
pub(crate) fn needed(machine: &Machine) -> Vec<Digest> {
    if matches!(
        machine.phase,
        Phase::Destroying { .. } | Phase::Destroyed { .. }
    ) {
        return Vec::new();
    }
    let mut images = machine.images();
    images.extend(machine.rootfs_of.iter().cloned());
    if let Phase::Updating { previous, .. } = &machine.phase {
        images.push(previous.spec.image.clone());
        let containers = &previous.spec.containers;
        images.extend(containers.iter().map(|container| container.image.clone()));
    }
    images.iter().filter_map(ImageRef::digest).collect()
}
