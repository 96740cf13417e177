use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mayfly_host_api::{
    Catalog, CatalogEntry, Connection, CreateMachine, ExecExit, ExecInput, ExecOutput, ExecRequest,
    ExecSession, HostApi, HostError, HostEvent, HostStatus, ImageInfo, ImageSource, LogEntry,
    LogPage, LogQuery, MachineReport, MemoryReport, MemoryRequest, ProcessInfo, Pruned,
    PullProgress, Refusal, RegistryLogin, RestartMachine, ScheduleRun, Socket, StopMachine,
    UpdateMachine, Usage, VolumeExtended, VolumeReport, VolumeSpace, VolumeSpec, VolumeState,
};
use mayfly_machine::{Actor, EventKind, ExitEvent, Launch, MachineSpec, MachineState, Signal};
use mayfly_types::{
    Digest, ErrorKind, HostId, HostSeq, ImageRef, MachineId, Region, Secret, Timestamp, VolumeId,
};
use tokio::sync::{mpsc, watch};

/// A host whose machines change state the moment they are told to. Tests make it fail, hide and end machines.
pub(crate) struct FakeHost {
    pub(crate) id: HostId,
    region: Region,
    inner: Mutex<Inner>,
    latest: watch::Sender<HostSeq>,
    catalog: watch::Sender<Catalog>,
}

#[derive(Default)]
struct Inner {
    machines: BTreeMap<MachineId, MachineReport>,
    events: Vec<HostEvent>,
    images: BTreeMap<String, ImageInfo>,
    failing: BTreeSet<&'static str>,
    signals: Vec<(MachineId, Signal)>,
    secrets: BTreeMap<MachineId, BTreeMap<String, Secret>>,
    volumes: BTreeMap<VolumeId, VolumeReport>,
    now: i64,
}

impl FakeHost {
    pub(crate) fn new() -> Arc<Self> {
        Self::of("0a0b0c0d", "iad")
    }

    pub(crate) fn of(id: &str, region: &str) -> Arc<Self> {
        Arc::new(Self {
            id: id.parse().unwrap(),
            region: region.parse().unwrap(),
            inner: Mutex::default(),
            latest: watch::Sender::new(HostSeq(0)),
            catalog: watch::Sender::new(Arc::default()),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Shows these machines to edges and names.
    pub(crate) fn publish(&self, machines: Vec<Arc<CatalogEntry>>) {
        self.catalog.send_replace(Arc::new(machines));
    }

    /// Calls named `call` fail as if the host did not answer, until told otherwise.
    pub(crate) fn fail(&self, call: &'static str, failing: bool) {
        if failing {
            self.inner().failing.insert(call);
        } else {
            self.inner().failing.remove(call);
        }
    }

    pub(crate) fn machines(&self) -> Vec<MachineId> {
        let inner = self.inner();
        let living = inner
            .machines
            .values()
            .filter(|report| report.state != MachineState::Destroyed);
        living.map(|report| report.machine_id).collect()
    }

    pub(crate) fn signals(&self) -> Vec<(MachineId, Signal)> {
        self.inner().signals.clone()
    }

    /// The secrets the machine's newest version was handed over with.
    pub(crate) fn secrets(&self, machine: MachineId) -> BTreeMap<String, String> {
        let inner = self.inner();
        let secrets = inner.secrets[&machine].iter();
        secrets
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect()
    }

    /// The machine's program ends by itself.
    pub(crate) fn exit(&self, machine: MachineId, code: i32) {
        let exit = ExitEvent {
            exit_code: code,
            guest_exit_code: code,
            guest_signal: 0,
            oom_killed: false,
            requested_stop: false,
            restarting: false,
            signal: -1,
            exited_at: Timestamp::from_millis(1_700_000_000_000),
            restart_count: 0,
        };
        let event = EventKind::Exit(exit);
        self.change(machine, MachineState::Stopped, Some(event), Actor::Platform);
    }

    fn check(&self, call: &'static str) -> Result<(), HostError> {
        if self.inner().failing.contains(call) {
            return Err(HostError::Failed {
                action: format!("{call} on a host that does not answer"),
                kind: ErrorKind::Unavailable,
                source: "told to fail".into(),
            });
        }
        Ok(())
    }

    fn change(
        &self,
        machine: MachineId,
        state: MachineState,
        event: Option<EventKind>,
        by: Actor,
    ) -> MachineReport {
        let mut inner = self.inner();
        inner.now += 1;
        let at = Timestamp::from_millis(1_700_000_000_000 + inner.now);
        let seq = HostSeq(i64::try_from(inner.events.len()).unwrap() + 1);
        let report = inner.machines.get_mut(&machine).unwrap();
        report.seq = seq;
        report.state = state;
        report.since = at;
        let report = report.clone();
        inner.events.push(HostEvent {
            seq,
            at,
            machine_id: machine,
            event,
            by,
            report: report.clone(),
        });
        drop(inner);
        self.latest.send_replace(seq);
        report
    }

    /// Gives the machine the volumes of its spec and takes all others from it.
    fn attach(&self, machine: MachineId, spec: &MachineSpec) -> Result<(), HostError> {
        for volume in spec.mounts.iter().map(|mount| mount.volume) {
            let inner = self.inner();
            let report = inner.volumes.get(&volume);
            let report = report.ok_or(Refusal::VolumeNotHere(volume))?;
            if let Some(machine) = report.attached_machine.filter(|other| *other != machine) {
                return Err(Refusal::VolumeInUse { volume, machine }.into());
            }
        }
        self.detach(machine);
        for mount in &spec.mounts {
            if let Some(report) = self.inner().volumes.get_mut(&mount.volume) {
                report.attached_machine = Some(machine);
            }
        }
        Ok(())
    }

    fn detach(&self, machine: MachineId) {
        for report in self.inner().volumes.values_mut() {
            if report.attached_machine == Some(machine) {
                report.attached_machine = None;
            }
        }
    }

    fn state(&self, machine: MachineId) -> Result<MachineState, HostError> {
        let inner = self.inner();
        let report = inner
            .machines
            .get(&machine)
            .ok_or(HostError::UnknownMachine(machine))?;
        Ok(report.state)
    }

    fn started(&self, machine: MachineId) -> Result<(), HostError> {
        match self.state(machine)? {
            MachineState::Started => Ok(()),
            state => Err(Refusal::NotIn {
                state,
                wanted: "started".into(),
            }
            .into()),
        }
    }
}

/// An empty filesystem as large as the volume.
fn space_of(size_gib: u32) -> VolumeSpace {
    let blocks = u64::from(size_gib) << 18;
    VolumeSpace {
        block_size: 4096,
        blocks,
        blocks_free: blocks,
        blocks_avail: blocks,
    }
}

fn image_info(image: &ImageRef) -> ImageInfo {
    let digest: Digest = format!("sha256:{}", "5a".repeat(32)).parse().unwrap();
    ImageInfo {
        image: image.pinned(image.digest().unwrap_or(digest)),
        digest: image.digest().unwrap_or(digest),
        labels: BTreeMap::from([("fly.version".to_owned(), "7".to_owned())]),
        size_bytes: 1,
        layers: 1,
        architecture: "amd64".to_owned(),
        created_at: None,
        ready: true,
        used_by: 0,
    }
}

#[async_trait]
impl HostApi for FakeHost {
    async fn create(&self, request: CreateMachine) -> Result<MachineReport, HostError> {
        self.check("create")?;
        let machine = request.machine_id;
        if let Some(report) = self.inner().machines.get(&machine) {
            return Ok(report.clone());
        }
        self.attach(machine, &request.spec)?;
        let number = u16::try_from(self.inner().machines.len()).unwrap() + 1;
        let ip = Ipv6Addr::new(0xfdaa, 0, 1, 0xa0b, 0xc0d, 0, number, 2);
        let groups: Vec<String> = ip
            .segments()
            .iter()
            .map(|part| format!("{part:x}"))
            .collect();
        let report = MachineReport {
            machine_id: machine,
            host_id: self.id,
            seq: HostSeq(0),
            instance_id: request.instance_id,
            state: MachineState::Created,
            since: Timestamp::default(),
            private_ip: groups.join(":"),
            pid: None,
            cordoned: request.cordoned,
            failure: None,
            containers: Vec::new(),
        };
        self.inner().machines.insert(machine, report);
        self.inner().secrets.insert(machine, request.secrets);
        let launch = Some(EventKind::Launch);
        self.change(machine, MachineState::Created, launch, request.by);
        match request.launch {
            Launch::Now => Ok(self.change(
                machine,
                MachineState::Started,
                Some(EventKind::Start),
                request.by,
            )),
            Launch::Skip => Ok(self.change(machine, MachineState::Stopped, None, request.by)),
        }
    }

    async fn update(
        &self,
        machine: MachineId,
        request: UpdateMachine,
    ) -> Result<MachineReport, HostError> {
        self.check("update")?;
        let state = self.state(machine)?;
        self.attach(machine, &request.spec)?;
        self.inner().secrets.insert(machine, request.secrets);
        self.inner()
            .machines
            .get_mut(&machine)
            .expect("its state was known")
            .instance_id = request.instance_id;
        let next = match (state, request.launch) {
            (MachineState::Started, _) | (_, Launch::Now) => MachineState::Started,
            (state, Launch::Skip) => state,
        };
        let updated = self.change(machine, next, Some(EventKind::Update), request.by);
        match next {
            MachineState::Started => {
                Ok(self.change(machine, next, Some(EventKind::Start), request.by))
            }
            _ => Ok(updated),
        }
    }

    async fn start(&self, machine: MachineId, by: Actor) -> Result<MachineReport, HostError> {
        self.check("start")?;
        match self.state(machine)? {
            MachineState::Destroyed => Err(Refusal::NotIn {
                state: MachineState::Destroyed,
                wanted: "created, stopped or suspended".into(),
            }
            .into()),
            _ => Ok(self.change(machine, MachineState::Started, Some(EventKind::Start), by)),
        }
    }

    async fn stop(
        &self,
        machine: MachineId,
        request: StopMachine,
    ) -> Result<MachineReport, HostError> {
        self.check("stop")?;
        self.state(machine)?;
        Ok(self.change(
            machine,
            MachineState::Stopped,
            Some(EventKind::Stop),
            request.by,
        ))
    }

    async fn restart(
        &self,
        machine: MachineId,
        request: RestartMachine,
    ) -> Result<MachineReport, HostError> {
        self.check("restart")?;
        self.state(machine)?;
        let event = Some(EventKind::Restart);
        Ok(self.change(machine, MachineState::Started, event, request.by))
    }

    async fn suspend(&self, machine: MachineId, by: Actor) -> Result<MachineReport, HostError> {
        self.check("suspend")?;
        self.started(machine)?;
        let event = Some(EventKind::Suspend);
        Ok(self.change(machine, MachineState::Suspended, event, by))
    }

    async fn cordon(
        &self,
        machine: MachineId,
        cordoned: bool,
        by: Actor,
    ) -> Result<MachineReport, HostError> {
        let state = self.state(machine)?;
        if let Some(report) = self.inner().machines.get_mut(&machine) {
            report.cordoned = cordoned;
        }
        Ok(self.change(machine, state, None, by))
    }

    async fn signal(&self, machine: MachineId, signal: Signal) -> Result<(), HostError> {
        self.started(machine)?;
        self.inner().signals.push((machine, signal));
        Ok(())
    }

    async fn destroy(
        &self,
        machine: MachineId,
        kill: bool,
        by: Actor,
    ) -> Result<MachineReport, HostError> {
        self.check("destroy")?;
        let state = self.state(machine)?;
        if state == MachineState::Started && !kill {
            return Err(Refusal::NotIn {
                state,
                wanted: "stopped, or the request must force it".into(),
            }
            .into());
        }
        self.detach(machine);
        let event = Some(EventKind::Destroy);
        Ok(self.change(machine, MachineState::Destroyed, event, by))
    }

    /// `echo` says its arguments, `cat` says its input, `false` ends with 1, `sleep` never ends.
    async fn exec(
        &self,
        machine: MachineId,
        request: ExecRequest,
    ) -> Result<ExecSession, HostError> {
        self.started(machine)?;
        let (input, mut given) = mpsc::channel(4);
        let (said, output) = mpsc::channel(4);
        #[allow(clippy::disallowed_methods)] // the fake's own program
        tokio::spawn(async move {
            let mut code = 0;
            match request.argv[0].as_str() {
                "echo" => {
                    let line = format!("{}\n", request.argv[1..].join(" "));
                    said.send(ExecOutput::Stdout(line.into())).await.ok();
                }
                "cat" => {
                    while let Some(ExecInput::Stdin(bytes)) = given.recv().await {
                        said.send(ExecOutput::Stdout(bytes)).await.ok();
                    }
                }
                "false" => {
                    let bytes = Bytes::from_static(b"no\n");
                    said.send(ExecOutput::Stderr(bytes)).await.ok();
                    code = 1;
                }
                "sleep" => said.closed().await,
                _ => {
                    let reason = "no such program".to_owned();
                    let exit = ExecExit::Failed { reason };
                    said.send(ExecOutput::Exit(exit)).await.ok();
                    return;
                }
            }
            let exit = ExecExit::Exited { code };
            said.send(ExecOutput::Exit(exit)).await.ok();
        });
        Ok(ExecSession { input, output })
    }

    /// Says back what it hears.
    async fn connect(&self, _: SocketAddrV6) -> Result<Connection, HostError> {
        self.check("connect")?;
        let (reader, writer) = tokio::io::simplex(1 << 16);
        Ok(Box::new(tokio::io::join(reader, writer)))
    }

    async fn ping(&self, _: Ipv6Addr, _: Duration) -> Result<Duration, HostError> {
        self.check("ping")?;
        Ok(Duration::from_micros(1500))
    }

    /// A machine that uses nothing, of which 7 MiB can be taken at most.
    async fn memory(
        &self,
        machine: MachineId,
        request: MemoryRequest,
    ) -> Result<MemoryReport, HostError> {
        self.started(machine)?;
        let (limit_mib, reclaimed_mib) = match request {
            MemoryRequest::Read => (256, 0),
            MemoryRequest::Limit { mib } => (mib, 0),
            MemoryRequest::Reclaim { mib } => (256, mib.min(7)),
        };
        Ok(MemoryReport {
            limit_mib,
            available_mib: limit_mib,
            reclaimed_mib,
        })
    }

    async fn usage(
        &self,
        _machines: Vec<MachineId>,
    ) -> Result<BTreeMap<MachineId, Usage>, HostError> {
        Ok(BTreeMap::new())
    }

    async fn ps(&self, machine: MachineId) -> Result<Vec<ProcessInfo>, HostError> {
        self.started(machine)?;
        Ok(vec![ProcessInfo {
            pid: 1,
            stime: 1,
            rtime: 2,
            command: "/bin/server".to_owned(),
            directory: "/".to_owned(),
            cpu: 3,
            rss: 4,
            listen_sockets: vec![Socket {
                proto: "tcp".to_owned(),
                address: "0.0.0.0:8080".to_owned(),
            }],
        }])
    }

    async fn report(&self, machine: MachineId) -> Result<MachineReport, HostError> {
        self.check("report")?;
        let inner = self.inner();
        let report = inner.machines.get(&machine).cloned();
        report.ok_or(HostError::UnknownMachine(machine))
    }

    async fn events_after(
        &self,
        after: HostSeq,
        limit: usize,
    ) -> Result<Vec<HostEvent>, HostError> {
        let inner = self.inner();
        let events = inner.events.iter().filter(|event| event.seq > after);
        Ok(events.take(limit).cloned().collect())
    }

    fn latest(&self) -> watch::Receiver<HostSeq> {
        self.latest.subscribe()
    }

    fn catalog(&self) -> watch::Receiver<Catalog> {
        self.catalog.subscribe()
    }

    async fn schedule_runs(&self, _: MachineId, _: usize) -> Result<Vec<ScheduleRun>, HostError> {
        Ok(vec![ScheduleRun {
            due_at: Timestamp::from_millis(1_700_000_000_000),
            started_at: None,
            ended_at: None,
            exit_code: None,
            outcome: "skipped".to_owned(),
        }])
    }

    /// Every machine has said three lines.
    async fn logs(&self, query: LogQuery) -> Result<LogPage, HostError> {
        let mut page = LogPage::default();
        for (machine_id, after) in query.machines {
            self.state(machine_id)?;
            for seq in after + 1..=3 {
                page.entries.push(LogEntry {
                    machine_id,
                    seq,
                    at: Timestamp::from_millis(1_700_000_000_000),
                    source: "app".to_owned(),
                    stream: "stdout".to_owned(),
                    container: None,
                    message: format!("line {seq}"),
                });
            }
            page.cursors.push((machine_id, 3));
        }
        Ok(page)
    }

    async fn resolve_image(
        &self,
        image: &ImageRef,
        _: Option<RegistryLogin>,
    ) -> Result<ImageInfo, HostError> {
        self.check("resolve_image")?;
        if image.repository().contains("missing") {
            return Err(HostError::Failed {
                action: format!("find image {image}"),
                kind: ErrorKind::NotFound,
                source: "the registry has no such manifest".into(),
            });
        }
        let info = image_info(image);
        self.inner().images.insert(image.to_string(), info.clone());
        Ok(info)
    }

    async fn import_image(&self, source: ImageSource) -> Result<Vec<ImageInfo>, HostError> {
        let bytes = std::fs::read(&source.path).map_err(|error| HostError::Failed {
            action: "read the upload".to_owned(),
            kind: ErrorKind::Internal,
            source: Box::new(error),
        })?;
        if bytes != b"archive" {
            return Err(HostError::Failed {
                action: "read the archive".to_owned(),
                kind: ErrorKind::Invalid,
                source: "it is not a tar archive".into(),
            });
        }
        let image = source.name.unwrap_or_else(|| "named:1".parse().unwrap());
        let info = image_info(&image);
        self.inner().images.insert(image.to_string(), info.clone());
        Ok(vec![info])
    }

    async fn images(&self) -> Result<Vec<ImageInfo>, HostError> {
        Ok(self.inner().images.values().cloned().collect())
    }

    async fn pulls(&self) -> Vec<PullProgress> {
        Vec::new()
    }

    async fn prune_images(&self, keep: Vec<ImageRef>) -> Result<Pruned, HostError> {
        Ok(Pruned {
            images: keep,
            layers: 0,
            freed_bytes: 0,
        })
    }

    async fn create_volume(&self, spec: VolumeSpec) -> Result<VolumeReport, HostError> {
        self.check("create_volume")?;
        let fresh = VolumeReport {
            volume_id: spec.volume_id,
            host_id: self.id,
            size_gib: spec.size_gib,
            filesystem: spec.filesystem,
            state: VolumeState::Ready,
            attached_machine: None,
            stored_bytes: 1 << 20,
            space: Some(space_of(spec.size_gib)),
        };
        let mut inner = self.inner();
        let volume = inner.volumes.entry(spec.volume_id).or_insert(fresh);
        Ok(volume.clone())
    }

    async fn extend_volume(
        &self,
        volume: VolumeId,
        size_gib: u32,
    ) -> Result<VolumeExtended, HostError> {
        self.check("extend_volume")?;
        let mut inner = self.inner();
        let report = inner.volumes.get_mut(&volume);
        let report = report.ok_or(HostError::UnknownVolume(volume))?;
        if size_gib < report.size_gib {
            let size_gib = report.size_gib;
            return Err(Refusal::Shrinks { volume, size_gib }.into());
        }
        report.size_gib = size_gib;
        report.space = Some(space_of(size_gib));
        Ok(VolumeExtended {
            volume: report.clone(),
            needs_restart: report.attached_machine.is_some(),
        })
    }

    async fn destroy_volume(&self, volume: VolumeId) -> Result<(), HostError> {
        self.check("destroy_volume")?;
        let mut inner = self.inner();
        let attached = inner.volumes.get(&volume);
        if let Some(machine) = attached.and_then(|report| report.attached_machine) {
            return Err(Refusal::VolumeInUse { volume, machine }.into());
        }
        inner.volumes.remove(&volume);
        Ok(())
    }

    async fn volume(&self, volume: VolumeId) -> Result<VolumeReport, HostError> {
        self.check("volume")?;
        let report = self.inner().volumes.get(&volume).cloned();
        report.ok_or(HostError::UnknownVolume(volume))
    }

    async fn volumes(&self) -> Result<Vec<VolumeReport>, HostError> {
        self.check("volumes")?;
        Ok(self.inner().volumes.values().cloned().collect())
    }

    async fn status(&self) -> HostStatus {
        HostStatus {
            host_id: self.id,
            region: self.region.clone(),
            image_store: self.id.to_string(),
            machines: self.machines().len(),
            running: 0,
            cgroups: "v2".to_owned(),
            memory_mib: 4096,
            cpus: 2,
        }
    }
}
