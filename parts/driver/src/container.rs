use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mayfly_guest::{ExitRecord, FAILED, GuestRecord, LaunchSpec, Reply, Request, STARTED};
use mayfly_host_api::{ContainerReport, ExecRequest, ExecSession, ProcessInfo};
use mayfly_machine::Signal;
use mayfly_mesh::{Attachment, Ipv4Pool, Mesh, MeshError};
use mayfly_runtime::{Clock, TaskSet};
use mayfly_types::{LaunchId, MachineId};
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;
use tracing::{info, warn};

use crate::cgroup::{Layout, Limits, MachineCgroup, MissingControllers};
use crate::features::{detect_cgroups, missing_features};
use crate::root_source::RootSource;
use crate::run_dir::{GuestState, HostNote, RunDir, boot_id};
use crate::trash::Trash;
use crate::{
    Body, Driver, DriverError, Launch, Observed, init_program, processes, rootfs, session,
};

/// What a [`ContainerDriver`] stands on.
pub struct ContainerConfig {
    /// Holds `machines/`, `bin/` and `network.json`; belongs to one daemon at a time.
    pub data_dir: PathBuf,
    pub images: Arc<dyn RootSource>,
    pub clock: Arc<dyn Clock>,
}

/// Why machines cannot run on this host.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("this host lacks {}", .0.join("; "))]
    Features(Vec<String>),
    #[error("prepare the private network")]
    Network(#[from] MeshError),
    #[error("{action}")]
    Io {
        action: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Runs machines in namespaces and cgroups, each under a monitor of its own that outlives this process.
///
/// Cheap to clone. What a machine has on disk is `machines/<id>/{run,logs,rootfs}`; the rest is in the kernel, under
/// names that carry this data directory's tag.
#[derive(Clone)]
pub struct ContainerDriver(Arc<Inner>);

struct Inner {
    machines_dir: PathBuf,
    program: PathBuf,
    cgroups: Layout,
    mesh: Mesh,
    images: Arc<dyn RootSource>,
    clock: Arc<dyn Clock>,
    trash: Trash,
    tasks: TaskSet,
    boot_id: String,
}

/// How long a monitor may take to end once everything in its machine was killed.
const KILL_PATIENCE: Duration = Duration::from_secs(20);
/// Between two rounds of killing; later rounds are for what had not joined the cgroups yet.
const KILL_PAUSE: Duration = Duration::from_millis(2);
/// The longest line a monitor says about a start.
const STATUS_MAX: u64 = 16 * 1024;

impl ContainerDriver {
    /// Checks the host, lays out the program, cgroups and network, and finds nothing of any machine yet: running ones
    /// are found by [`Driver::observe`].
    pub async fn start(config: ContainerConfig) -> Result<ContainerDriver, StartError> {
        tokio::task::spawn_blocking(|| Inner::start(config))
            .await
            .unwrap_or_else(|error| {
                Err(StartError::Io {
                    action: "start the container driver",
                    source: io::Error::other(error),
                })
            })
            .map(|inner| ContainerDriver(Arc::new(inner)))
    }

    /// The IPv4 addresses machines may be given.
    pub fn ipv4_pool(&self) -> Ipv4Pool {
        self.0.mesh.ipv4_pool()
    }

    /// Which cgroups the host has: `v1`, `v2` or `hybrid`.
    pub fn cgroups(&self) -> &'static str {
        self.0.cgroups.describe()
    }

    /// Ends the exec sessions. Machines keep running.
    pub async fn shut_down(&self, patience: Duration) -> bool {
        self.0.tasks.shut_down(patience).await
    }

    /// Removes every machine and all else this driver has in the kernel, for a data directory that will not be used
    /// again.
    pub async fn dismantle(self) -> Result<(), DriverError> {
        for machine in self.machines().await? {
            self.remove(machine).await?;
        }
        let inner = self.0;
        blocking("give back cgroups and network", move || {
            inner.cgroups.dismantle()?;
            inner.mesh.clone().dismantle().map_err(io::Error::other)
        })
        .await
    }
}

impl Inner {
    fn start(config: ContainerConfig) -> Result<Inner, StartError> {
        let missing = missing_features();
        if !missing.is_empty() {
            return Err(StartError::Features(missing));
        }
        let failed = |action| move |source| StartError::Io { action, source };
        let program = init_program::install(&config.data_dir.join("bin"))
            .map_err(failed("lay out the machines' first process"))?;
        let mesh = Mesh::start(&config.data_dir)?;
        let cgroups = detect_cgroups()
            .map_err(|MissingControllers(names)| {
                StartError::Features(names.into_iter().map(str::to_owned).collect())
            })?
            .prepare(mesh.tag())
            .map_err(failed("make the cgroups that hold machines"))?;
        let machines_dir = config.data_dir.join("machines");
        let trash = Trash::open(config.data_dir.join("trash"))
            .map_err(failed("make the directory of what is deleted"))?;
        std::fs::create_dir_all(&machines_dir).map_err(failed("make the directory of machines"))?;
        let boot_id = boot_id().map_err(failed("read the boot's id"))?;
        info!(cgroups = cgroups.describe(), "container driver ready");
        Ok(Inner {
            machines_dir,
            program,
            cgroups,
            mesh,
            images: config.images,
            clock: config.clock,
            trash,
            tasks: TaskSet::new(),
            boot_id,
        })
    }

    fn machine_dir(&self, machine: MachineId) -> PathBuf {
        self.machines_dir.join(machine.as_str())
    }

    fn run_dir(&self, machine: MachineId) -> RunDir {
        RunDir::new(self.machine_dir(machine).join("run"))
    }

    fn cgroup(&self, machine: MachineId) -> MachineCgroup<'_> {
        self.cgroups.machine(machine)
    }

    fn state(&self, machine: MachineId) -> Result<GuestState, DriverError> {
        self.run_dir(machine)
            .state(&self.boot_id)
            .map_err(host("look at the guest", machine))
    }

    /// The guest and a handle on its monitor, or that there is none.
    fn running(&self, machine: MachineId) -> Result<(GuestRecord, OwnedFd), DriverError> {
        match self.state(machine)? {
            GuestState::Alive(guest, monitor) => Ok((guest, monitor)),
            _ => Err(DriverError::NotRunning(machine)),
        }
    }

    async fn ask(&self, machine: MachineId, request: Request) -> Result<Reply, DriverError> {
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

    async fn attach(&self, body: &Body) -> Result<PathBuf, DriverError> {
        let attachment = Attachment {
            machine_id: body.machine_id,
            private_ip: body.private_ip,
            ipv4: body.ipv4,
        };
        let attached = self.mesh.attach(attachment).await;
        attached.map_err(host("connect the network", body.machine_id))
    }

    /// Everything a monitor needs on disk and in cgroups. Blocking.
    fn prepare(&self, body: &Body, launch: &Launch, netns: PathBuf) -> io::Result<()> {
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
        let note = HostNote {
            boot_id: self.boot_id.clone(),
            millicpus: limits.millicpus,
        };
        self.run_dir(machine).prepare(&spec, &note)
    }

    /// Starts a monitor and returns what it says of the start.
    async fn spawn_monitor(&self, run_dir: &Path) -> io::Result<String> {
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
    async fn kill(&self, machine: MachineId) -> io::Result<()> {
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
    async fn exit_of(&self, machine: MachineId) -> Result<ExitRecord, DriverError> {
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

#[async_trait]
impl Driver for ContainerDriver {
    async fn provision(&self, body: &Body) -> Result<(), DriverError> {
        let directory = self.0.machine_dir(body.machine_id);
        std::fs::create_dir_all(directory.join("logs"))
            .map_err(host("make the directory", body.machine_id))?;
        self.0.attach(body).await.map(|_| ())
    }

    async fn launch(&self, body: &Body, launch: &Launch) -> Result<GuestRecord, DriverError> {
        let machine = body.machine_id;
        let failed = |source| host("launch", machine)(source);
        let prepared = match self.0.state(machine)? {
            GuestState::Alive(guest, _) if guest.launch_id == launch.launch_id => return Ok(guest),
            GuestState::Alive(..) => {
                return Err(failed(io::Error::other("a guest of another launch runs")));
            }
            GuestState::Ended(guest, exit) if exit.launch_id == launch.launch_id => {
                return match (guest, exit.failure) {
                    (Some(guest), None) => Ok(guest),
                    (_, failure) => Err(DriverError::Guest {
                        reason: failure.unwrap_or_else(|| "the program never ran".to_owned()),
                    }),
                };
            }
            GuestState::Lost(guest) if guest.launch_id == launch.launch_id => return Ok(guest),
            GuestState::Prepared(launch_id) => launch_id == launch.launch_id,
            _ => false,
        };
        let netns = self.0.attach(body).await?;
        if !prepared {
            if self.0.run_dir(machine).is_monitored().map_err(failed)? {
                return Err(failed(io::Error::other("a guest of another launch starts")));
            }
            let (inner, body, launch) = (Arc::clone(&self.0), body.clone(), launch.clone());
            blocking_on("prepare the launch", machine, move || {
                inner.prepare(&body, &launch, netns)
            })
            .await?;
        }
        let run_dir = self.0.run_dir(machine);
        let said = self.0.spawn_monitor(run_dir.path()).await;
        let said = said.map_err(host("start the monitor", machine))?;
        if let Some(reason) = said.strip_prefix(FAILED) {
            return Err(DriverError::Guest {
                reason: reason.trim().to_owned(),
            });
        }
        if said != STARTED {
            return Err(failed(io::Error::other("the monitor ended without a word")));
        }
        self.0
            .cgroup(machine)
            .close_disk_devices()
            .map_err(failed)?;
        match self.0.state(machine)? {
            GuestState::Alive(guest, _)
            | GuestState::Ended(Some(guest), _)
            | GuestState::Lost(guest) => Ok(guest),
            other => Err(failed(io::Error::other(format!(
                "the monitor says the guest runs, but it is {other:?}"
            )))),
        }
    }

    async fn observe(&self, machine: MachineId) -> Result<Observed, DriverError> {
        match self.0.state(machine)? {
            GuestState::Absent | GuestState::Prepared(_) => Ok(Observed::Absent),
            GuestState::Alive(guest, _) => {
                let frozen = self.0.cgroup(machine).is_frozen();
                Ok(match frozen {
                    Ok(true) => Observed::Frozen(guest),
                    // Without its cgroup it is about to end.
                    Ok(false) | Err(_) => Observed::Running(guest),
                })
            }
            GuestState::Ended(..) | GuestState::Lost(_) => {
                self.0.exit_of(machine).await.map(Observed::Exited)
            }
        }
    }

    async fn exited(
        &self,
        machine: MachineId,
        launch: LaunchId,
    ) -> Result<ExitRecord, DriverError> {
        if let GuestState::Alive(guest, monitor) = self.0.state(machine)?
            && guest.launch_id == launch
        {
            ended(monitor)
                .await
                .map_err(host("wait for the end", machine))?;
        }
        let exit = self.0.exit_of(machine).await?;
        if exit.launch_id == launch {
            Ok(exit)
        } else {
            Err(DriverError::NotRunning(machine))
        }
    }

    async fn signal(&self, machine: MachineId, signal: Signal) -> Result<(), DriverError> {
        let request = Request::Signal {
            signal: signal.number(),
            container: None,
        };
        self.0.ask(machine, request).await.map(|_| ())
    }

    async fn kill(&self, machine: MachineId) -> Result<(), DriverError> {
        self.0.kill(machine).await.map_err(host("kill", machine))
    }

    async fn freeze(&self, machine: MachineId) -> Result<(), DriverError> {
        self.0.running(machine)?;
        let frozen = self.0.cgroup(machine).freeze().await;
        frozen.map_err(host("freeze", machine))
    }

    async fn thaw(&self, machine: MachineId) -> Result<(), DriverError> {
        self.0.running(machine)?;
        let thawed = self.0.cgroup(machine).thaw().await;
        thawed.map_err(host("thaw", machine))
    }

    async fn clean(&self, machine: MachineId) -> Result<(), DriverError> {
        let failed = host("clean up", machine);
        if let GuestState::Alive(..) = self.0.state(machine)? {
            return Err(failed(io::Error::other("a guest runs")));
        }
        // A start that nobody waited for may be on its way.
        self.0.kill(machine).await.map_err(&failed)?;
        self.0.cgroup(machine).remove().await.map_err(&failed)?;
        self.0.run_dir(machine).clear().map_err(failed)
    }

    async fn remove(&self, machine: MachineId) -> Result<(), DriverError> {
        self.kill(machine).await?;
        let failed = host("remove", machine);
        self.0.cgroup(machine).remove().await.map_err(&failed)?;
        let detached = self.0.mesh.detach(machine).await;
        detached.map_err(host("disconnect the network", machine))?;
        let directory = self.0.machine_dir(machine);
        self.0
            .trash
            .throw(&directory, machine.as_str())
            .map_err(failed)
    }

    async fn exec(
        &self,
        machine: MachineId,
        request: ExecRequest,
    ) -> Result<ExecSession, DriverError> {
        self.0.running(machine)?;
        session::exec(self.0.run_dir(machine).path(), request, &self.0.tasks)
            .await
            .map_err(host("reach the monitor", machine))
    }

    async fn ps(&self, machine: MachineId) -> Result<Vec<ProcessInfo>, DriverError> {
        self.0.running(machine)?;
        let inner = Arc::clone(&self.0);
        blocking_on("list the processes", machine, move || {
            Ok(processes::describe(&inner.cgroup(machine).processes()?))
        })
        .await
    }

    async fn containers(&self, machine: MachineId) -> Result<Vec<ContainerReport>, DriverError> {
        match self.0.ask(machine, Request::Containers).await? {
            Reply::Containers(containers) => Ok(containers
                .into_iter()
                .map(|container| ContainerReport {
                    name: container.name,
                    state: container.state,
                })
                .collect()),
            other => Err(host("ask for containers", machine)(io::Error::other(
                format!("the monitor answered {other:?}"),
            ))),
        }
    }

    async fn cpu_used_us(&self, machine: MachineId) -> Result<u64, DriverError> {
        self.0.running(machine)?;
        let used = self.0.cgroup(machine).cpu_used_us();
        used.map_err(host("read the CPU time", machine))
    }

    async fn limit_cpu(
        &self,
        machine: MachineId,
        millicpus: Option<u32>,
    ) -> Result<(), DriverError> {
        self.0.running(machine)?;
        let failed = host("limit the CPU", machine);
        let note = self.0.run_dir(machine).note().map_err(&failed)?;
        let size = note.map(|note| note.millicpus);
        let limit = match (millicpus, size) {
            (Some(limit), Some(size)) => Some(limit.min(size)),
            (limit, size) => limit.or(size),
        };
        self.0.cgroup(machine).limit_cpu(limit).map_err(failed)
    }

    async fn machines(&self) -> Result<Vec<MachineId>, DriverError> {
        let failed = |source| DriverError::Host {
            action: "list machines".to_owned(),
            source,
        };
        let attached = self.0.mesh.machines().await;
        let mut machines = attached.map_err(|error| failed(error.into()))?;
        let in_cgroups = self.0.cgroups.machines();
        machines.extend(in_cgroups.map_err(|error| failed(error.into()))?);
        let entries = std::fs::read_dir(&self.0.machines_dir);
        for entry in entries.map_err(|error| failed(error.into()))? {
            let name = entry.map_err(|error| failed(error.into()))?.file_name();
            machines.extend(
                name.to_str()
                    .and_then(|name| name.parse::<MachineId>().ok()),
            );
        }
        machines.sort();
        machines.dedup();
        Ok(machines)
    }
}

/// Returns once the process has ended; at once if it has.
async fn ended(process: OwnedFd) -> io::Result<()> {
    // Deprecated for types whose descriptor may change under it; an `OwnedFd` keeps its own.
    #[allow(deprecated)]
    let process = AsyncFd::new(process)?;
    let _ready = process.readable().await?;
    Ok(())
}

fn host<E>(action: &'static str, machine: MachineId) -> impl Fn(E) -> DriverError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| DriverError::Host {
        action: format!("{action} of machine {machine}"),
        source: error.into(),
    }
}

async fn blocking_on<T: Send + 'static>(
    action: &'static str,
    machine: MachineId,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DriverError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(host(action, machine))
}

async fn blocking(
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
