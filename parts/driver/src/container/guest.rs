//! One machine's guest: what it has on disk and in cgroups, its monitor, and its end.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mayfly_guest::{ExitRecord, GuestRecord, LaunchSpec, Reply, Request};
use mayfly_mesh::Attachment;
use mayfly_types::MachineId;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;
use tracing::warn;

use super::Inner;
use crate::cgroup::{Limits, MachineCgroup};
use crate::run_dir::{GuestState, HostNote, RunDir};
use crate::{Body, DriverError, Launch, rootfs, session};

/// How long a monitor may take to end once everything in its machine was killed.
const KILL_PATIENCE: Duration = Duration::from_secs(20);
/// Between two rounds of killing; later rounds are for what had not joined the cgroups yet.
const KILL_PAUSE: Duration = Duration::from_millis(2);
/// The longest line a monitor says about a start.
const STATUS_MAX: u64 = 16 * 1024;

impl Inner {
    pub(super) fn machine_dir(&self, machine: MachineId) -> PathBuf {
        self.machines_dir.join(machine.as_str())
    }

    pub(super) fn run_dir(&self, machine: MachineId) -> RunDir {
        RunDir::new(self.machine_dir(machine).join("run"))
    }

    pub(super) fn cgroup(&self, machine: MachineId) -> MachineCgroup<'_> {
        self.cgroups.machine(machine)
    }

    pub(super) fn state(&self, machine: MachineId) -> Result<GuestState, DriverError> {
        self.run_dir(machine)
            .state(&self.boot_id)
            .map_err(host("look at the guest", machine))
    }

    /// The guest and a handle on its monitor, or that there is none.
    pub(super) fn running(
        &self,
        machine: MachineId,
    ) -> Result<(GuestRecord, OwnedFd), DriverError> {
        match self.state(machine)? {
            GuestState::Alive(guest, monitor) => Ok((guest, monitor)),
            _ => Err(DriverError::NotRunning(machine)),
        }
    }

    pub(super) async fn ask(
        &self,
        machine: MachineId,
        request: Request,
    ) -> Result<Reply, DriverError> {
        self.running(machine)?;
        let answer = session::ask(self.run_dir(machine).path(), &request).await;
        match answer {
            Ok(Reply::Refused { reason }) => Err(DriverError::Guest { reason }),
            Ok(reply) => Ok(reply),
            // Ended while we asked.
            Err(_) if self.running(machine).is_err() => Err(DriverError::NotRunning(machine)),
            Err(error) => Err(host("ask the monitor", machine)(error)),
        }
    }

    pub(super) async fn attach(&self, body: &Body) -> Result<PathBuf, DriverError> {
        let attachment = Attachment {
            machine_id: body.machine_id,
            private_ip: body.private_ip,
            ipv4: body.ipv4,
        };
        let attached = self.mesh.attach(attachment).await;
        attached.map_err(host("connect the network", body.machine_id))
    }

    /// Everything a monitor needs on disk and in cgroups. Blocking.
    pub(super) fn prepare(&self, body: &Body, launch: &Launch, netns: PathBuf) -> io::Result<()> {
        let machine = body.machine_id;
        let directory = self.machine_dir(machine);
        let roots = directory.join("rootfs");
        if !launch.keep_rootfs {
            self.trash.throw(&roots, machine.as_str())?;
        }
        let logs = directory.join("logs");
        std::fs::create_dir_all(&logs)?;
        let limits = Limits::of(body.size, body.swap_mib);
        let cgroup = self.cgroup(machine);
        cgroup.create(&limits)?;
        let mut spec = LaunchSpec {
            log_dir: logs,
            netns: Some(netns),
            cgroups: cgroup.directories(),
            ..launch.spec.clone()
        };
        for container in &mut spec.containers {
            let image = launch.images.get(&container.name).ok_or_else(|| {
                io::Error::other(format!(
                    "no image is named for container {}",
                    container.name
                ))
            })?;
            let layers = self.images.layers(*image).map_err(io::Error::other)?;
            container.root = rootfs::prepare(&roots, &container.name, body.rootfs, layers)?;
        }
        for volume in &mut spec.volumes {
            volume.image = self.volumes.image(volume.volume_id);
        }
        let note = HostNote {
            boot_id: self.boot_id.clone(),
            millicpus: limits.millicpus,
        };
        self.run_dir(machine).prepare(&spec, &note)
    }

    /// Starts a monitor and returns what it says of the start.
    pub(super) async fn spawn_monitor(&self, run_dir: &Path) -> io::Result<String> {
        let mut child = Command::new(&self.program)
            .arg("monitor")
            .arg(run_dir)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = child.stdout.take().expect("stdout is piped");
        let mut said = String::new();
        pipe.take(STATUS_MAX).read_to_string(&mut said).await?;
        child.wait().await?;
        Ok(said.lines().next().unwrap_or_default().to_owned())
    }

    /// Kills what is in the machine until its monitor is gone too. Nothing there is success.
    pub(super) async fn kill(&self, machine: MachineId) -> io::Result<()> {
        let (cgroup, run_dir) = (self.cgroup(machine), self.run_dir(machine));
        let give_up = Instant::now() + KILL_PATIENCE;
        loop {
            if cgroup.exists() && !cgroup.processes()?.is_empty() {
                cgroup.kill().await?;
            }
            if let Ok(GuestState::Alive(_, monitor)) = run_dir.state(&self.boot_id) {
                let rest = give_up.saturating_duration_since(Instant::now());
                return tokio::time::timeout(rest, ended(monitor)).await?;
            }
            if !run_dir.is_monitored()? && (!cgroup.exists() || cgroup.processes()?.is_empty()) {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tokio::time::sleep(KILL_PAUSE).await;
        }
    }

    /// The end of a launch's guest, once its monitor is gone.
    pub(super) async fn exit_of(&self, machine: MachineId) -> Result<ExitRecord, DriverError> {
        match self.state(machine)? {
            GuestState::Ended(_, exit) => Ok(exit),
            GuestState::Lost(guest) => {
                let failed = host("end what a killed monitor left", machine);
                self.kill(machine).await.map_err(&failed)?;
                warn!(machine_id = %machine, "the monitor of a machine was killed");
                let lost = self.run_dir(machine).record_lost(&guest, self.clock.now());
                lost.map_err(failed)
            }
            _ => Err(DriverError::NotRunning(machine)),
        }
    }
}

/// Returns once the process has ended; at once if it has.
pub(super) async fn ended(process: OwnedFd) -> io::Result<()> {
    // Deprecated for types whose descriptor may change under it; an `OwnedFd` keeps its own.
    #[allow(deprecated)]
    let process = AsyncFd::new(process)?;
    let _ready = process.readable().await?;
    Ok(())
}

pub(super) fn host<E>(action: &'static str, machine: MachineId) -> impl Fn(E) -> DriverError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| DriverError::Host {
        action: format!("{action} of machine {machine}"),
        source: error.into(),
    }
}

pub(super) async fn blocking_on<T: Send + 'static>(
    action: &'static str,
    machine: MachineId,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DriverError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(host(action, machine))
}

pub(super) async fn blocking(
    action: &'static str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), DriverError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| DriverError::Host {
            action: action.to_owned(),
            source: error.into(),
        })
}
