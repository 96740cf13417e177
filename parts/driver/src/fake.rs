//! A driver without a kernel, for tests of the supervisor.
//!
//! Clones share one world: dropping a supervisor and building another over a clone is what a daemon restart is to the
//! real driver. [`FakeDriver::reboot`] loses every guest without a record. Failures are scripted per call, before or
//! after the effect, and a call may be held at either point so that a test can drop or release it there.

mod disks;
mod script;
mod world;

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use mayfly_guest::{ExitRecord, GuestRecord};
use mayfly_host_api::{
    ContainerReport, ExecExit, ExecInput, ExecOutput, ExecRequest, ExecSession, MemoryReport,
    MemoryRequest, ProcessInfo, VolumeSpec,
};
use mayfly_machine::Signal;
use mayfly_runtime::Clock;
use mayfly_types::{LaunchId, MachineId, VolumeId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use self::script::Script;
pub use self::script::{Call, Edge, Fault, Hold};
pub use self::world::Ending;
use self::world::World;
use crate::{Body, Driver, DriverError, Launch, Observed, VolumeDisk, VolumeHealth};

/// An in-memory [`Driver`]. Guests end on a terminating signal unless told to be [stubborn](FakeDriver::stubborn).
#[derive(Clone)]
pub struct FakeDriver {
    clock: Arc<dyn Clock>,
    shared: Arc<Mutex<Shared>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Shared {
    world: World,
    script: Script,
    /// With the machine it was about, if it was about one.
    calls: Vec<(Call, Option<MachineId>)>,
}

impl FakeDriver {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            shared: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// The next `call` that is not yet scripted fails; several failures of one call happen in the order given.
    pub fn fail_next(&self, call: Call, edge: Edge, fault: Fault) {
        self.shared().script.fail_next(call, edge, fault);
    }

    /// Call number `number` from now on (0 is the next, whatever it is) fails; for sweeping all steps of an operation.
    pub fn fail_number(&self, number: usize, edge: Edge, fault: Fault) {
        let shared = &mut *self.shared();
        let at = shared.calls.len() + number;
        shared.script.fail_number(at, edge, fault);
    }

    /// The next `call` stops at `edge` until the returned hold is dropped.
    pub fn hold_next(&self, call: Call, edge: Edge) -> Hold {
        self.shared().script.hold_next(call, edge)
    }

    /// Like [`FakeDriver::fail_number`], for holding the call.
    pub fn hold_number(&self, number: usize, edge: Edge) -> Hold {
        let shared = &mut *self.shared();
        let at = shared.calls.len() + number;
        shared.script.hold_number(at, edge)
    }

    /// Every call so far, also the failed ones.
    pub fn calls(&self) -> Vec<(Call, Option<MachineId>)> {
        self.shared().calls.clone()
    }

    /// Ends the guest as if its program had; false if none runs.
    pub fn end(&self, machine: MachineId, ending: Ending) -> bool {
        let now = self.clock.now();
        let ended = self.shared().world.end(machine, ending, now);
        self.tell();
        ended
    }

    /// The machine's guest ignores every signal but SIGKILL, now and in later launches.
    pub fn stubborn(&self, machine: MachineId) {
        self.shared().world.stubborn(machine);
    }

    /// The host lost power: guests and exit records are gone, what `provision` made is still there.
    pub fn reboot(&self) {
        self.shared().world.reboot();
        self.tell();
    }

    /// Adds to what [`Driver::cpu_used_us`] answers.
    pub fn use_cpu(&self, machine: MachineId, micros: u64) {
        self.shared().world.use_cpu(machine, micros);
    }

    /// The CPU limit last set, in thousandths of a CPU.
    pub fn cpu_limit(&self, machine: MachineId) -> Option<u32> {
        self.shared().world.cpu_limit(machine)
    }

    /// The next launches with the volume find it so.
    pub fn set_volume_health(&self, volume: VolumeId, health: VolumeHealth) {
        self.shared().world.set_volume_health(volume, health);
    }

    /// The volumes there are.
    pub fn volumes(&self) -> Vec<VolumeId> {
        self.shared().world.volumes()
    }

    /// The body last given to `provision` or `launch`.
    pub fn body(&self, machine: MachineId) -> Option<Body> {
        self.shared().world.body(machine)
    }

    /// The newest launch that took effect.
    pub fn last_launch(&self, machine: MachineId) -> Option<Launch> {
        self.shared().world.last_launch(machine)
    }

    /// How many launches took effect for the machine.
    pub fn launches(&self, machine: MachineId) -> usize {
        self.shared().world.launches(machine)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder of this lock panics")
    }

    fn tell(&self) {
        self.changed.send_modify(|turn| *turn += 1);
    }

    /// Records the call, obeys the script around `effect`, and wakes waiters.
    async fn perform<T>(
        &self,
        call: Call,
        machine: impl Into<Option<MachineId>>,
        effect: impl FnOnce(&mut World) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let machine = machine.into();
        let plan = {
            let shared = &mut *self.shared();
            let number = shared.calls.len();
            shared.calls.push((call, machine));
            shared.script.plan(call, number)
        };
        plan.reach(Edge::Before).await?;
        let result = effect(&mut self.shared().world);
        self.tell();
        plan.reach(Edge::After).await?;
        result
    }
}

#[async_trait]
impl Driver for FakeDriver {
    async fn provision(&self, body: &Body) -> Result<(), DriverError> {
        self.perform(Call::Provision, body.machine_id, |world| {
            world.provision(body);
            Ok(())
        })
        .await
    }

    async fn launch(&self, body: &Body, launch: &Launch) -> Result<GuestRecord, DriverError> {
        let now = self.clock.now();
        self.perform(Call::Launch, body.machine_id, |world| {
            world.launch(body, launch, now)
        })
        .await
    }

    async fn observe(&self, machine: MachineId) -> Result<Observed, DriverError> {
        self.perform(Call::Observe, machine, |world| Ok(world.observe(machine)))
            .await
    }

    async fn exited(
        &self,
        machine: MachineId,
        launch: LaunchId,
    ) -> Result<ExitRecord, DriverError> {
        let mut changes = self.changed.subscribe();
        self.perform(Call::Exited, machine, |_| Ok(())).await?;
        loop {
            changes.mark_unchanged();
            if let Some(answer) = self.shared().world.exit_of(machine, launch) {
                return answer;
            }
            changes
                .changed()
                .await
                .expect("the driver holds the sender as long as it is borrowed");
        }
    }

    async fn signal(&self, machine: MachineId, signal: Signal) -> Result<(), DriverError> {
        let now = self.clock.now();
        self.perform(Call::Signal, machine, |world| {
            world.signal(machine, signal, now)
        })
        .await
    }

    async fn kill(&self, machine: MachineId) -> Result<(), DriverError> {
        let now = self.clock.now();
        self.perform(Call::Kill, machine, |world| {
            world.end(machine, Ending::Signal(9), now);
            Ok(())
        })
        .await
    }

    async fn freeze(&self, machine: MachineId) -> Result<(), DriverError> {
        self.perform(Call::Freeze, machine, |world| {
            world.set_frozen(machine, true)
        })
        .await
    }

    async fn thaw(&self, machine: MachineId) -> Result<(), DriverError> {
        self.perform(Call::Thaw, machine, |world| {
            world.set_frozen(machine, false)
        })
        .await
    }

    async fn clean(&self, machine: MachineId) -> Result<(), DriverError> {
        self.perform(Call::Clean, machine, |world| {
            world.clean(machine);
            Ok(())
        })
        .await
    }

    async fn remove(&self, machine: MachineId) -> Result<(), DriverError> {
        self.perform(Call::Remove, machine, |world| {
            world.remove(machine);
            Ok(())
        })
        .await
    }

    /// Echoes standard input and exits with 0 at its end; `false` exits with 1.
    async fn exec(
        &self,
        machine: MachineId,
        request: ExecRequest,
    ) -> Result<ExecSession, DriverError> {
        self.perform(Call::Exec, machine, |world| world.check_running(machine))
            .await?;
        let code = i32::from(
            request
                .argv
                .first()
                .is_some_and(|program| program == "false"),
        );
        let (input, mut typed) = mpsc::channel(8);
        let (answers, output) = mpsc::channel(8);
        #[allow(clippy::disallowed_methods)]
        // ends with its channels; a test has no set to hang it on
        tokio::spawn(async move {
            while let Some(ExecInput::Stdin(bytes)) = typed.recv().await {
                if answers.send(ExecOutput::Stdout(bytes)).await.is_err() {
                    return;
                }
            }
            let line = Bytes::from(request.argv.join(" "));
            let _ = answers.send(ExecOutput::Stdout(line)).await;
            let exit = ExecOutput::Exit(ExecExit::Exited { code });
            let _ = answers.send(exit).await;
        });
        Ok(ExecSession { input, output })
    }

    /// At a free port of the loopback network: fake machines have no addresses.
    async fn shell_door(
        &self,
        machine: MachineId,
        _: Ipv6Addr,
    ) -> Result<TcpListener, DriverError> {
        let bound = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await;
        bound.map_err(|source| unreachable(machine, source))
    }

    async fn connect_inside(
        &self,
        machine: MachineId,
        target: SocketAddr,
    ) -> Result<TcpStream, DriverError> {
        let connected = TcpStream::connect(target).await;
        connected.map_err(|source| unreachable(machine, source))
    }

    async fn ps(&self, machine: MachineId) -> Result<Vec<ProcessInfo>, DriverError> {
        self.perform(Call::Ps, machine, |world| world.ps(machine))
            .await
    }

    async fn containers(&self, machine: MachineId) -> Result<Vec<ContainerReport>, DriverError> {
        self.perform(Call::Containers, machine, |world| world.containers(machine))
            .await
    }

    async fn cpu_used_us(&self, machine: MachineId) -> Result<u64, DriverError> {
        self.perform(Call::CpuUsed, machine, |world| world.cpu_used(machine))
            .await
    }

    async fn limit_cpu(
        &self,
        machine: MachineId,
        millicpus: Option<u32>,
    ) -> Result<(), DriverError> {
        self.perform(Call::LimitCpu, machine, |world| {
            world.limit_cpu(machine, millicpus);
            Ok(())
        })
        .await
    }

    async fn memory(
        &self,
        machine: MachineId,
        request: MemoryRequest,
    ) -> Result<MemoryReport, DriverError> {
        self.perform(Call::Memory, machine, |world| {
            world.memory(machine, request)
        })
        .await
    }

    async fn make_volume(&self, spec: &VolumeSpec) -> Result<(), DriverError> {
        self.perform(Call::MakeVolume, None, |world| {
            world.make_volume(spec);
            Ok(())
        })
        .await
    }

    async fn grow_volume(
        &self,
        volume: VolumeId,
        size_gib: u32,
        machine: Option<MachineId>,
    ) -> Result<bool, DriverError> {
        self.perform(Call::GrowVolume, machine, |world| {
            world.grow_volume(volume, size_gib)
        })
        .await
    }

    async fn ready_volume(&self, volume: VolumeId) -> Result<VolumeHealth, DriverError> {
        self.perform(Call::ReadyVolume, None, |world| world.ready_volume(volume))
            .await
    }

    async fn remove_volume(&self, volume: VolumeId) -> Result<(), DriverError> {
        self.perform(Call::RemoveVolume, None, |world| {
            world.remove_volume(volume)
        })
        .await
    }

    async fn volume(
        &self,
        volume: VolumeId,
        machine: Option<MachineId>,
    ) -> Result<Option<VolumeDisk>, DriverError> {
        self.perform(Call::Volume, machine, |world| Ok(world.volume(volume)))
            .await
    }

    async fn machines(&self) -> Result<Vec<MachineId>, DriverError> {
        Ok(self.shared().world.machines())
    }
}

fn unreachable(machine: MachineId, source: std::io::Error) -> DriverError {
    DriverError::Host {
        action: format!("reach machine {machine}"),
        source: source.into(),
    }
}

#[cfg(test)]
mod tests;
