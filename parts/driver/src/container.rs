mod guest;
mod memory;
mod volume;

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mayfly_guest::{ExitRecord, FAILED, GuestRecord, Reply, Request, STARTED};
use mayfly_host_api::{
    ContainerReport, ExecRequest, ExecSession, MemoryReport, MemoryRequest, ProcessInfo, VolumeSpec,
};
use mayfly_machine::Signal;
use mayfly_mesh::{Family, Ipv4Pool, Mesh, MeshError, Traffic};
use mayfly_runtime::{Clock, TaskSet};
use mayfly_types::{LaunchId, MachineId, VolumeId};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tracing::info;

use guest::{blocking, blocking_on, ended, host};

use crate::cgroup::{Layout, MissingControllers};
use crate::features::{detect_cgroups, missing_features};
use crate::root_source::RootSource;
use crate::run_dir::{GuestState, boot_id};
use crate::trash::Trash;
use crate::volumes::Volumes;
use crate::{
    Body, Driver, DriverError, Launch, Observed, VolumeDisk, VolumeHealth, init_program, processes,
    session,
};

/// What a [`ContainerDriver`] stands on.
pub struct ContainerConfig {
    /// Holds `machines/`, `volumes/`, `bin/` and `network.json`; belongs to one daemon at a time.
    pub data_dir: PathBuf,
    /// Names of the hosts besides the first that work with this driver; each has an IPv4 pool of its own.
    pub more_hosts: Vec<String>,
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
    volumes: Volumes,
    tasks: TaskSet,
    boot_id: String,
}

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

    /// The IPv4 addresses machines of the first host may be given.
    pub fn ipv4_pool(&self) -> Ipv4Pool {
        self.0.mesh.ipv4_pool()
    }

    /// Those of a further host; `None` for one that was not named at the start.
    pub fn ipv4_pool_of(&self, host: &str) -> Option<Ipv4Pool> {
        self.0.mesh.ipv4_pool_of(host)
    }

    /// Where machines' questions about names arrive: see [`Mesh::names_address`].
    pub fn names_address(&self) -> Ipv6Addr {
        self.0.mesh.names_address()
    }

    /// The network of this server's machines, for the gateways of users' devices.
    pub fn mesh(&self) -> &Mesh {
        &self.0.mesh
    }

    /// Enforces policies and sources of machines: see [`Mesh::set_traffic`].
    pub async fn set_traffic(&self, traffic: Arc<Traffic>) -> Result<(), MeshError> {
        self.0.mesh.set_traffic(traffic).await
    }

    /// Four characters that tell this data directory's things in the kernel from those of others.
    pub fn tag(&self) -> &str {
        self.0.mesh.tag()
    }

    /// Which cgroups the host has: `v1`, `v2` or `hybrid`.
    pub fn cgroups(&self) -> &'static str {
        self.0.cgroups.describe()
    }

    /// Ends the exec sessions. Machines keep running.
    pub async fn shut_down(&self, patience: Duration) -> bool {
        self.0.tasks.shut_down(patience).await
    }

    /// Takes all that this driver has in the kernel out of it: network, cgroups. What machines have on disk stays, and
    /// so do the records of their ends; the next start makes the rest anew.
    ///
    /// # Errors
    /// If a machine still runs.
    pub async fn withdraw(&self) -> Result<(), DriverError> {
        for machine in self.machines().await? {
            if let GuestState::Alive(..) = self.0.state(machine)? {
                let running = io::Error::other("a guest runs");
                return Err(host("withdraw the body", machine)(running));
            }
            let removed = self.0.cgroup(machine).remove().await;
            removed.map_err(host("remove the cgroups", machine))?;
        }
        let inner = Arc::clone(&self.0);
        blocking("give back cgroups and network", move || {
            inner.cgroups.dismantle()?;
            inner.mesh.withdraw().map_err(io::Error::other)
        })
        .await
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
        let mesh = Mesh::start(&config.data_dir, &config.more_hosts)?;
        let cgroups = detect_cgroups()
            .map_err(|MissingControllers(names)| {
                StartError::Features(names.into_iter().map(str::to_owned).collect())
            })?
            .prepare(mesh.tag())
            .map_err(failed("make the cgroups that hold machines"))?;
        let machines_dir = config.data_dir.join("machines");
        let trash = Trash::open(config.data_dir.join("trash"))
            .map_err(failed("make the directory of what is deleted"))?;
        let volumes = Volumes::open(config.data_dir.join("volumes"), trash.clone())
            .map_err(failed("make the directory of volumes"))?;
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
            volumes,
            tasks: TaskSet::new(),
            boot_id,
        })
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

    async fn shell_door(
        &self,
        machine: MachineId,
        private_ip: Ipv6Addr,
    ) -> Result<TcpListener, DriverError> {
        let failed = host("open the shell door", machine);
        let opened = self.0.mesh.shell_door(machine, private_ip).await;
        let listener = opened.map_err(&failed)?;
        TcpListener::from_std(listener).map_err(failed)
    }

    async fn connect_inside(
        &self,
        machine: MachineId,
        target: SocketAddr,
    ) -> Result<TcpStream, DriverError> {
        let failed = host("connect inside", machine);
        let family = if target.is_ipv6() {
            Family::V6
        } else {
            Family::V4
        };
        let socket = self.0.mesh.inner_socket(machine, family).await;
        let socket = std::net::TcpStream::from(socket.map_err(&failed)?);
        let connected = TcpSocket::from_std_stream(socket).connect(target).await;
        connected.map_err(failed)
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

    async fn memory(
        &self,
        machine: MachineId,
        request: MemoryRequest,
    ) -> Result<MemoryReport, DriverError> {
        self.0.running(machine)?;
        let inner = Arc::clone(&self.0);
        let work = move || Ok(memory::answer(&inner.cgroup(machine), request));
        let answered = blocking_on("reach the memory", machine, work).await?;
        answered.map_err(|error| match error {
            memory::Failure::InUse { mib } => DriverError::Guest {
                reason: format!("it uses {mib} MiB and cannot do with less"),
            },
            memory::Failure::Kernel(error) => host("change the memory", machine)(error),
        })
    }

    async fn make_volume(&self, spec: &VolumeSpec) -> Result<(), DriverError> {
        let spec = *spec;
        let make = move |inner: &Inner| inner.volumes.make(&spec);
        self.0.on_volume("make", spec.volume_id, make).await
    }

    async fn grow_volume(
        &self,
        volume: VolumeId,
        size_gib: u32,
        machine: Option<MachineId>,
    ) -> Result<bool, DriverError> {
        let grow = move |inner: &Inner| {
            let mount = || inner.live_mount(volume, machine?);
            inner.volumes.grow(volume, size_gib, mount)
        };
        self.0.on_volume("extend", volume, grow).await
    }

    async fn ready_volume(&self, volume: VolumeId) -> Result<VolumeHealth, DriverError> {
        let ready = move |inner: &Inner| inner.volumes.ready(volume);
        self.0.on_volume("make ready", volume, ready).await
    }

    async fn remove_volume(&self, volume: VolumeId) -> Result<(), DriverError> {
        let remove = move |inner: &Inner| inner.volumes.remove(volume);
        self.0.on_volume("remove", volume, remove).await
    }

    async fn volume(
        &self,
        volume: VolumeId,
        machine: Option<MachineId>,
    ) -> Result<Option<VolumeDisk>, DriverError> {
        let look = move |inner: &Inner| {
            let mount = || inner.live_mount(volume, machine?);
            inner.volumes.look(volume, mount)
        };
        self.0.on_volume("look at", volume, look).await
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
