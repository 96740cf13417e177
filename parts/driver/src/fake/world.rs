use std::collections::BTreeMap;

use mayfly_guest::{ExitRecord, GuestRecord};
use mayfly_host_api::{ContainerReport, MemoryReport, MemoryRequest, ProcessInfo};
use mayfly_machine::Signal;
use mayfly_types::{LaunchId, MachineId, Timestamp, VolumeId};

use super::disks::Disks;
use crate::{Body, DriverError, Launch, Observed};

/// How a fake guest ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Code(i32),
    Signal(i32),
    OutOfMemory,
}

/// What exists on the pretended host.
#[derive(Default)]
pub(super) struct World {
    machines: BTreeMap<MachineId, FakeMachine>,
    pub(super) disks: Disks,
    next_pid: u32,
}

#[derive(Default)]
struct FakeMachine {
    body: Option<Body>,
    guest: Option<FakeGuest>,
    exit: Option<ExitRecord>,
    launches: Vec<Launch>,
    stubborn: bool,
    cpu_limit: Option<u32>,
}

struct FakeGuest {
    record: GuestRecord,
    frozen: bool,
    cpu_used_us: u64,
    memory_mib: u32,
}

impl World {
    pub(super) fn provision(&mut self, body: &Body) {
        self.machine(body.machine_id).body = Some(body.clone());
    }

    pub(super) fn launch(
        &mut self,
        body: &Body,
        launch: &Launch,
        now: Timestamp,
    ) -> Result<GuestRecord, DriverError> {
        let volumes = launch.spec.volumes.iter().map(|volume| volume.volume_id);
        for volume in volumes {
            if !self.disks.has(volume)
                || self.user_of(volume).is_some_and(|id| id != body.machine_id)
            {
                return Err(DriverError::Host {
                    action: format!("launch machine {}", body.machine_id),
                    source: format!("volume {volume} is missing or in use").into(),
                });
            }
        }
        self.next_pid += 2;
        let pid = 1000 + self.next_pid;
        let machine = self.machine(body.machine_id);
        if let Some(guest) = &machine.guest {
            return if guest.record.launch_id == launch.launch_id {
                Ok(guest.record.clone())
            } else {
                Err(DriverError::Host {
                    action: format!("launch machine {}", body.machine_id),
                    source: "a guest of another launch runs".into(),
                })
            };
        }
        machine.body = Some(body.clone());
        machine.exit = None;
        machine.cpu_limit = None;
        machine.launches.push(launch.clone());
        let record = GuestRecord {
            launch_id: launch.launch_id,
            monitor_pid: pid,
            monitor_start_ticks: u64::from(pid),
            init_pid: pid + 1,
            init_start_ticks: u64::from(pid) + 1,
            started_at: now,
        };
        machine.guest = Some(FakeGuest {
            record: record.clone(),
            frozen: false,
            cpu_used_us: 0,
            memory_mib: body.size.memory_mib,
        });
        Ok(record)
    }

    pub(super) fn observe(&self, id: MachineId) -> Observed {
        let Some(machine) = self.machines.get(&id) else {
            return Observed::Absent;
        };
        match (&machine.guest, &machine.exit) {
            (Some(guest), _) if guest.frozen => Observed::Frozen(guest.record.clone()),
            (Some(guest), _) => Observed::Running(guest.record.clone()),
            (None, Some(exit)) => Observed::Exited(exit.clone()),
            (None, None) => Observed::Absent,
        }
    }

    /// `None` while the launch's guest runs.
    pub(super) fn exit_of(
        &self,
        id: MachineId,
        launch: LaunchId,
    ) -> Option<Result<ExitRecord, DriverError>> {
        let machine = self.machines.get(&id);
        let guest = machine.and_then(|machine| machine.guest.as_ref());
        if guest.is_some_and(|guest| guest.record.launch_id == launch) {
            return None;
        }
        let exit = machine.and_then(|machine| machine.exit.as_ref());
        Some(match exit {
            Some(exit) if exit.launch_id == launch => Ok(exit.clone()),
            _ => Err(DriverError::NotRunning(id)),
        })
    }

    pub(super) fn end(&mut self, id: MachineId, ending: Ending, now: Timestamp) -> bool {
        let machine = self.machine(id);
        let Some(guest) = machine.guest.take() else {
            return false;
        };
        let (exit_code, signal) = match ending {
            Ending::Code(code) => (Some(code), None),
            Ending::Signal(signal) => (None, Some(signal)),
            Ending::OutOfMemory => (None, Some(9)),
        };
        machine.exit = Some(ExitRecord {
            launch_id: guest.record.launch_id,
            exit_code,
            signal,
            oom_killed: ending == Ending::OutOfMemory,
            failure: None,
            exited_at: now,
            containers: Vec::new(),
        });
        true
    }

    pub(super) fn signal(
        &mut self,
        id: MachineId,
        signal: Signal,
        now: Timestamp,
    ) -> Result<(), DriverError> {
        self.check_running(id)?;
        let ends = match signal {
            Signal::KILL => true,
            Signal::INT | Signal::TERM | Signal::HUP => !self.machine(id).stubborn,
            _ => false,
        };
        let frozen = self.guest(id)?.frozen;
        if ends && !frozen {
            self.end(id, Ending::Signal(signal.number()), now);
        }
        Ok(())
    }

    pub(super) fn set_frozen(&mut self, id: MachineId, frozen: bool) -> Result<(), DriverError> {
        self.guest_mut(id)?.frozen = frozen;
        Ok(())
    }

    pub(super) fn clean(&mut self, id: MachineId) {
        if let Some(machine) = self.machines.get_mut(&id)
            && machine.guest.is_none()
        {
            machine.exit = None;
        }
    }

    pub(super) fn remove(&mut self, id: MachineId) {
        self.machines.remove(&id);
    }

    pub(super) fn reboot(&mut self) {
        for machine in self.machines.values_mut() {
            machine.guest = None;
            machine.exit = None;
        }
    }

    pub(super) fn stubborn(&mut self, id: MachineId) {
        self.machine(id).stubborn = true;
    }

    pub(super) fn use_cpu(&mut self, id: MachineId, micros: u64) {
        if let Ok(guest) = self.guest_mut(id) {
            guest.cpu_used_us += micros;
        }
    }

    pub(super) fn cpu_used(&self, id: MachineId) -> Result<u64, DriverError> {
        Ok(self.guest(id)?.cpu_used_us)
    }

    pub(super) fn limit_cpu(&mut self, id: MachineId, millicpus: Option<u32>) {
        self.machine(id).cpu_limit = millicpus;
    }

    pub(super) fn cpu_limit(&self, id: MachineId) -> Option<u32> {
        self.machines.get(&id)?.cpu_limit
    }

    /// A guest that uses nothing.
    pub(super) fn memory(
        &mut self,
        id: MachineId,
        request: MemoryRequest,
    ) -> Result<MemoryReport, DriverError> {
        let guest = self.guest_mut(id)?;
        if let MemoryRequest::Limit { mib } = request {
            guest.memory_mib = mib;
        }
        Ok(MemoryReport {
            limit_mib: guest.memory_mib,
            available_mib: guest.memory_mib,
            reclaimed_mib: 0,
        })
    }

    pub(super) fn body(&self, id: MachineId) -> Option<Body> {
        self.machines.get(&id)?.body.clone()
    }

    pub(super) fn last_launch(&self, id: MachineId) -> Option<Launch> {
        self.machines.get(&id)?.launches.last().cloned()
    }

    pub(super) fn launches(&self, id: MachineId) -> usize {
        self.machines
            .get(&id)
            .map_or(0, |machine| machine.launches.len())
    }

    /// Machines with anything provisioned; one that a test only configured does not exist yet.
    pub(super) fn machines(&self) -> Vec<MachineId> {
        let provisioned = self.machines.iter().filter(|(_, m)| m.body.is_some());
        provisioned.map(|(id, _)| *id).collect()
    }

    pub(super) fn check_running(&self, id: MachineId) -> Result<(), DriverError> {
        self.guest(id).map(|_| ())
    }

    pub(super) fn ps(&self, id: MachineId) -> Result<Vec<ProcessInfo>, DriverError> {
        self.check_running(id)?;
        Ok(vec![ProcessInfo {
            pid: 2,
            stime: 0,
            rtime: 0,
            command: "fake".into(),
            directory: "/".into(),
            cpu: 0,
            rss: 4096,
            listen_sockets: Vec::new(),
        }])
    }

    pub(super) fn containers(&self, id: MachineId) -> Result<Vec<ContainerReport>, DriverError> {
        self.check_running(id)?;
        let launch = self.last_launch(id);
        let containers = launch
            .map(|launch| launch.spec.containers)
            .unwrap_or_default();
        let report = |name: String| ContainerReport {
            name,
            state: "running".into(),
        };
        Ok(containers.into_iter().map(|c| report(c.name)).collect())
    }

    /// The machine whose guest runs with the volume.
    pub(super) fn user_of(&self, volume: VolumeId) -> Option<MachineId> {
        let running = self.machines.iter().filter(|(_, one)| one.guest.is_some());
        let mut users = running.filter(|(_, one)| {
            let launch = one.launches.last();
            launch.is_some_and(|launch| launch.spec.volumes.iter().any(|v| v.volume_id == volume))
        });
        users.next().map(|(id, _)| *id)
    }

    fn machine(&mut self, id: MachineId) -> &mut FakeMachine {
        self.machines.entry(id).or_default()
    }

    fn guest(&self, id: MachineId) -> Result<&FakeGuest, DriverError> {
        let machine = self.machines.get(&id);
        machine
            .and_then(|machine| machine.guest.as_ref())
            .ok_or(DriverError::NotRunning(id))
    }

    fn guest_mut(&mut self, id: MachineId) -> Result<&mut FakeGuest, DriverError> {
        let machine = self.machines.get_mut(&id);
        machine
            .and_then(|machine| machine.guest.as_mut())
            .ok_or(DriverError::NotRunning(id))
    }
}
