use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use async_trait::async_trait;
use mayfly_fleet_api::HostCall;
use mayfly_host_api::{
    Actor, Catalog, Connection, CreateMachine, ExecRequest, ExecSession, HostApi, HostError,
    HostEvent, HostStatus, ImageInfo, ImageSource, LogPage, LogQuery, MachineReport, MemoryReport,
    MemoryRequest, ProcessInfo, Pruned, PullProgress, RegistryLogin, RestartMachine, ScheduleRun,
    StopMachine, UpdateMachine, Usage, VolumeExtended, VolumeReport, VolumeSpec,
};
use mayfly_machine::Signal;
use mayfly_types::{HostSeq, ImageRef, MachineId, VolumeId};
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::RemoteHost;
use crate::carry::carry;
use crate::line::{Answer, DATA, END, PIECE_BYTES};

/// A host answers such calls once it has written a row.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// A registry may have to be asked.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(120);
/// A volume's filesystem is made, checked or taken away before the answer.
const VOLUME_PATIENCE: Duration = Duration::from_secs(300);
/// The image of an archive is unpacked before the answer.
const IMPORT_PATIENCE: Duration = Duration::from_secs(1800);

impl RemoteHost {
    async fn ask<T: DeserializeOwned>(&self, call: HostCall) -> Result<T, HostError> {
        self.ask_for(call, CALL_PATIENCE).await
    }

    async fn ask_for<T: DeserializeOwned>(
        &self,
        call: HostCall,
        patience: Duration,
    ) -> Result<T, HostError> {
        let answered = self.0.link.ask(&self.call(call), patience).await;
        answered.map_err(|error| self.failed(error))
    }

    async fn send_archive(&self, source: ImageSource) -> Result<Vec<ImageInfo>, HostError> {
        let open = tokio::fs::File::open(&source.path).await;
        let mut file = open.map_err(|error| HostError::Failed {
            action: format!("open {}", source.path.display()),
            kind: mayfly_types::ErrorKind::NotFound,
            source: Box::new(error),
        })?;
        let link = &self.0.link;
        let call = self.call(HostCall::ImportImage(source.name));
        let mut line = link
            .stream(&call)
            .await
            .map_err(|error| self.failed(error))?;
        let send = async {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let count = file.read(&mut piece).await?;
                if count == 0 {
                    break;
                }
                line.writer.frame(DATA, &piece[..count]).await?;
            }
            line.writer.frame(END, &[]).await?;
            line.reader.expect().await?.message()
        };
        let sent: io::Result<Answer<Vec<ImageInfo>>> = tokio::time::timeout(IMPORT_PATIENCE, send)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let answer = sent.map_err(|error| self.failed(link.unreachable(error)))?;
        answer.map_err(HostError::from)
    }
}

#[async_trait]
impl HostApi for RemoteHost {
    async fn create(&self, request: CreateMachine) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Create(request)).await
    }

    async fn update(
        &self,
        machine: MachineId,
        request: UpdateMachine,
    ) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Update(machine, request)).await
    }

    async fn start(&self, machine: MachineId, by: Actor) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Start(machine, by)).await
    }

    async fn stop(
        &self,
        machine: MachineId,
        request: StopMachine,
    ) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Stop(machine, request)).await
    }

    async fn restart(
        &self,
        machine: MachineId,
        request: RestartMachine,
    ) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Restart(machine, request)).await
    }

    async fn suspend(&self, machine: MachineId, by: Actor) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Suspend(machine, by)).await
    }

    async fn cordon(
        &self,
        machine: MachineId,
        cordoned: bool,
        by: Actor,
    ) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Cordon(machine, cordoned, by)).await
    }

    async fn signal(&self, machine: MachineId, signal: Signal) -> Result<(), HostError> {
        self.ask(HostCall::Signal(machine, signal)).await
    }

    async fn destroy(
        &self,
        machine: MachineId,
        kill: bool,
        by: Actor,
    ) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Destroy(machine, kill, by)).await
    }

    async fn exec(
        &self,
        machine: MachineId,
        request: ExecRequest,
    ) -> Result<ExecSession, HostError> {
        self.open_session(HostCall::Exec(machine, request)).await
    }

    async fn connect(&self, target: SocketAddrV6) -> Result<Connection, HostError> {
        let opened = self
            .0
            .link
            .stream(&self.call(HostCall::Connect(target)))
            .await;
        let line = opened.map_err(|error| self.failed(error))?;
        let (near, far) = tokio::io::duplex(PIECE_BYTES);
        self.0
            .sessions
            .spawn_guarded("fleet.connect", |stop| async move {
                // Either side may break off at any time; the other sees it.
                let _ = stop.run_until_cancelled(carry(line, far)).await;
            })
            .await;
        Ok(Box::new(near))
    }

    async fn ping(&self, target: Ipv6Addr, patience: Duration) -> Result<Duration, HostError> {
        let call = HostCall::Ping(target, patience);
        self.ask_for(call, patience + CALL_PATIENCE).await
    }

    async fn memory(
        &self,
        machine: MachineId,
        request: MemoryRequest,
    ) -> Result<MemoryReport, HostError> {
        self.ask(HostCall::Memory(machine, request)).await
    }

    async fn usage(
        &self,
        machines: Vec<MachineId>,
    ) -> Result<BTreeMap<MachineId, Usage>, HostError> {
        self.ask(HostCall::Usage(machines)).await
    }

    async fn ps(&self, machine: MachineId) -> Result<Vec<ProcessInfo>, HostError> {
        self.ask(HostCall::Ps(machine)).await
    }

    async fn report(&self, machine: MachineId) -> Result<MachineReport, HostError> {
        self.ask(HostCall::Report(machine)).await
    }

    async fn events_after(
        &self,
        after: HostSeq,
        limit: usize,
    ) -> Result<Vec<HostEvent>, HostError> {
        self.ask(HostCall::EventsAfter(after, limit)).await
    }

    fn latest(&self) -> watch::Receiver<HostSeq> {
        self.0.latest.subscribe()
    }

    fn catalog(&self) -> watch::Receiver<Catalog> {
        self.0.catalog.subscribe()
    }

    async fn schedule_runs(
        &self,
        machine: MachineId,
        limit: usize,
    ) -> Result<Vec<ScheduleRun>, HostError> {
        self.ask(HostCall::ScheduleRuns(machine, limit)).await
    }

    async fn logs(&self, query: LogQuery) -> Result<LogPage, HostError> {
        let patience = query.patience + CALL_PATIENCE;
        self.ask_for(HostCall::Logs(query), patience).await
    }

    async fn resolve_image(
        &self,
        image: &ImageRef,
        login: Option<RegistryLogin>,
    ) -> Result<ImageInfo, HostError> {
        let call = HostCall::ResolveImage(image.clone(), login);
        self.ask_for(call, REGISTRY_PATIENCE).await
    }

    async fn import_image(&self, source: ImageSource) -> Result<Vec<ImageInfo>, HostError> {
        self.send_archive(source).await
    }

    async fn images(&self) -> Result<Vec<ImageInfo>, HostError> {
        self.ask(HostCall::Images).await
    }

    async fn pulls(&self) -> Vec<PullProgress> {
        // What cannot be seen is not shown.
        self.ask(HostCall::Pulls).await.unwrap_or_default()
    }

    async fn prune_images(&self, keep: Vec<ImageRef>) -> Result<Pruned, HostError> {
        let call = HostCall::PruneImages(keep);
        self.ask_for(call, REGISTRY_PATIENCE).await
    }

    async fn create_volume(&self, spec: VolumeSpec) -> Result<VolumeReport, HostError> {
        let call = HostCall::CreateVolume(spec);
        self.ask_for(call, VOLUME_PATIENCE).await
    }

    async fn extend_volume(
        &self,
        volume: VolumeId,
        size_gib: u32,
    ) -> Result<VolumeExtended, HostError> {
        let call = HostCall::ExtendVolume(volume, size_gib);
        self.ask_for(call, VOLUME_PATIENCE).await
    }

    async fn destroy_volume(&self, volume: VolumeId) -> Result<(), HostError> {
        let call = HostCall::DestroyVolume(volume);
        self.ask_for(call, VOLUME_PATIENCE).await
    }

    async fn volume(&self, volume: VolumeId) -> Result<VolumeReport, HostError> {
        self.ask(HostCall::Volume(volume)).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeReport>, HostError> {
        self.ask(HostCall::Volumes).await
    }

    async fn status(&self) -> HostStatus {
        self.0.status.borrow().clone()
    }
}
