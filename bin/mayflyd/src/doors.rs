//! The API as machines reach it: a socket for each machine, which says who asks, and `_api.internal`, where a token does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use mayfly_control::AtDoorOf;
use mayfly_fleet::{Link, Passage};
use mayfly_fleet_api::{ApiVisitor, Call};
use mayfly_host::door_dir;
use mayfly_host_api::Catalog;
use mayfly_net::{MarkedSocket, PeerAddr, ServeConfig, serve};
use mayfly_runtime::{Stop, TaskSet, report};
use mayfly_types::{HostId, MachineId};
use rustix::fs::OFlags;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tracing::warn;

/// As upstream calls the socket.
const SOCKET: &str = "api";
/// More than a machine has use for; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// Keeps a door open for every machine of this server.
pub(crate) struct Doors {
    pub(crate) data_dir: PathBuf,
    pub(crate) catalog: watch::Receiver<Catalog>,
    /// Those whose machines run here.
    pub(crate) hosts: BTreeSet<HostId>,
    pub(crate) behind: BehindDoors,
}

/// What is behind the doors.
#[derive(Clone)]
pub(crate) enum BehindDoors {
    Here(Router),
    /// The control plane is on another server.
    There(ApiPassages),
}

impl Doors {
    /// Follows the catalog until told to stop. The sockets stay; the next daemon takes their places.
    pub(crate) async fn run(mut self, stop: Stop) {
        let mut open: BTreeMap<MachineId, TaskSet> = BTreeMap::new();
        loop {
            let machines: BTreeSet<MachineId> = {
                let catalog = self.catalog.borrow_and_update();
                let here = catalog
                    .iter()
                    .filter(|entry| self.hosts.contains(&entry.host_id));
                here.map(|entry| entry.machine_id).collect()
            };
            for machine in &machines {
                if open.contains_key(machine) {
                    continue;
                }
                match bind(&door_dir(&self.data_dir, *machine)) {
                    Ok(listener) => {
                        let door = self.serve(*machine, listener, &stop).await;
                        open.insert(*machine, door);
                    }
                    Err(error) => {
                        warn!(machine_id = %machine, error = report(&error), "a machine has no door to the API");
                    }
                }
            }
            let gone: Vec<MachineId> = open
                .keys()
                .filter(|machine| !machines.contains(machine))
                .copied()
                .collect();
            for machine in gone {
                if let Some(door) = open.remove(&machine) {
                    door.shut_down(ServeConfig::default().drain).await;
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.catalog.changed() => if changed.is_err() { break },
            }
        }
        for (_, door) in open {
            door.shut_down(ServeConfig::default().drain).await;
        }
    }

    async fn serve(&self, machine: MachineId, listener: UnixListener, stop: &Stop) -> TaskSet {
        let tasks = TaskSet::under(stop);
        let socket = MarkedSocket {
            listener,
            mark: AtDoorOf(machine),
        };
        let config = ServeConfig {
            connections_max: CONNECTIONS_MAX,
            ..ServeConfig::default()
        };
        match self.behind.clone() {
            BehindDoors::Here(router) => {
                tasks
                    .spawn("door", |stop| async move {
                        serve(socket, router, config, stop).await;
                    })
                    .await;
            }
            BehindDoors::There(passages) => {
                let passage = passages.at_door(socket);
                tasks.spawn("door", |stop| passage.run(stop)).await;
            }
        }
        tasks
    }
}

/// Lead machines of this server to the API on another one. Clones share what is between the servers.
#[derive(Clone)]
pub(crate) struct ApiPassages {
    control: Link,
    places: Arc<Semaphore>,
}

/// Connections of all machines of a server to the API on another one: each takes one between the servers.
const PLACES: usize = 256;
/// Of them, those of one machine at its door.
const AT_ONE_DOOR: usize = 16;
/// Of them, those at `_api.internal`.
const AT_API: usize = 128;

impl ApiPassages {
    pub(crate) fn to(control: Link) -> Self {
        ApiPassages {
            control,
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    fn at_door(&self, listener: MarkedSocket<AtDoorOf>) -> Passage<MarkedSocket<AtDoorOf>> {
        Passage {
            listener,
            control: self.control.clone(),
            call: |AtDoorOf(machine)| Call::Api(ApiVisitor::Machine(machine)),
            connections_max: AT_ONE_DOOR,
            places: self.places.clone(),
        }
    }

    /// Of the address behind `_api.internal`.
    pub(crate) fn at_api(&self, listener: TcpListener) -> Passage<TcpListener> {
        Passage {
            listener,
            control: self.control.clone(),
            call: |PeerAddr(address)| Call::Api(ApiVisitor::From(address)),
            connections_max: AT_API,
            places: self.places.clone(),
        }
    }
}

/// A fresh socket in the place of an earlier daemon's.
fn bind(directory: &Path) -> io::Result<UnixListener> {
    fs::create_dir_all(directory)?;
    // Whoever runs the program inside may look for it.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    let socket = directory.join(SOCKET);
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // By the descriptor of the directory: addresses of sockets are short, data directories need not be.
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let held = File::options()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).expect("flags are small"))
        .open(directory)?;
    let address = format!("/proc/self/fd/{}/{SOCKET}", held.as_raw_fd());
    let listener = std::os::unix::net::UnixListener::bind(address)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}
