//! The doors by which people get into machines: an SSH server in the network of each machine that runs.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use mayfly_edge_api::Directory;
use mayfly_host_api::{Connection, ExecRequest, ExecSession, HostApi, HostError};
use mayfly_machine::{Event, Machine, Phase, SessionNote};
use mayfly_runtime::{Backoff, Stop, report};
use mayfly_ssh::{Certificate, Guest, HostKey, PublicKey, ServerConfig, serve};
use mayfly_types::MachineId;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use crate::host::{Host, Shared};

/// Connections to one machine at once.
const CONNECTIONS_MAX: usize = 512;

/// After an accept failed for want of descriptors or memory.
const ACCEPT_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(5),
    most: Duration::from_secs(1),
};

/// What every machine's server shares, and which doors are open.
pub(crate) struct Shells {
    config: Arc<ServerConfig>,
    directory: watch::Receiver<Arc<Directory>>,
    open: Mutex<HashMap<MachineId, Stop>>,
}

impl Shells {
    pub(crate) fn new(
        host_key: HostKey,
        clock: Arc<dyn mayfly_runtime::Clock>,
        directory: watch::Receiver<Arc<Directory>>,
    ) -> Self {
        Shells {
            config: Arc::new(ServerConfig { host_key, clock }),
            directory,
            open: Mutex::default(),
        }
    }

    /// Opens or closes the machine's door as its phase wants it. The door is open when this returns; without one the
    /// machine runs all the same.
    pub(crate) async fn follow(shared: &Arc<Shared>, machine: &Machine) {
        let id = machine.identity.machine_id;
        if !matches!(
            machine.phase,
            Phase::Started { .. } | Phase::Stopping { .. }
        ) {
            shared.shells.close(id);
            return;
        }
        Shells::open(shared, machine).await;
    }

    /// Opens the door of a machine whose guest was just launched.
    pub(crate) async fn open(shared: &Arc<Shared>, machine: &Machine) {
        let identity = &machine.identity;
        let id = identity.machine_id;
        if shared.shells.opened().contains_key(&id) {
            return;
        }
        let door = shared.deps.driver.shell_door(id, identity.private_ip).await;
        let listener = match door {
            Ok(listener) => listener,
            Err(error) => {
                warn!(machine_id = %id, error = report(&error), "no shells in this machine");
                return;
            }
        };
        let closing = shared.tasks.stop_token().child_token();
        shared.shells.opened().insert(id, closing.clone());
        let shell = Arc::new(Shell {
            shared: Arc::clone(shared),
            machine: id,
        });
        shared
            .tasks
            .spawn("host.shell", move |_| accept(listener, shell, closing))
            .await;
    }

    fn close(&self, machine: MachineId) {
        if let Some(closing) = self.opened().remove(&machine) {
            closing.cancel();
        }
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<MachineId, Stop>> {
        self.open.lock().expect("no holder of this lock panics")
    }
}

/// Serves whoever comes until the door is closed, which ends their sessions.
async fn accept(listener: TcpListener, shell: Arc<Shell>, closing: Stop) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut failures = 0;
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(machine_id = %shell.machine, %error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF.pause(failures)).await;
                failures += 1;
                continue;
            }
        };
        failures = 0;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        // Single letters are sent at once, and a client that vanished is noticed one day.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
        let (config, guest) = (shell.shared.shells.config.clone(), Arc::clone(&shell));
        let stop = closing.clone();
        shell
            .shared
            .tasks
            .spawn_guarded("host.shell.client", move |_| async move {
                let _place = place;
                let machine_id = guest.machine;
                if let Err(error) = serve(stream, config, guest, stop).await {
                    debug!(%machine_id, error = report(&error), "a shell's connection ended");
                }
            })
            .await;
    }
}

/// One machine as its server sees it.
struct Shell {
    shared: Arc<Shared>,
    machine: MachineId,
}

impl Shell {
    fn identity<T>(&self, read: impl FnOnce(&mayfly_machine::Identity) -> T) -> Option<T> {
        let handle = self.shared.registry.find(self.machine).ok()?;
        let stored = handle.stored.borrow();
        Some(read(&stored.machine.identity))
    }
}

#[async_trait]
impl Guest for Shell {
    fn app(&self) -> String {
        let app = self.identity(|identity| identity.app_name.to_string());
        app.unwrap_or_default()
    }

    fn authorities(&self) -> Vec<PublicKey> {
        let Some(org) = self.identity(|identity| identity.org_id) else {
            return Vec::new();
        };
        let directory = self.shared.shells.directory.borrow();
        let ours = directory.ssh_authorities.iter();
        ours.filter(|authority| authority.org_id == org)
            .filter_map(|authority| authority.public_key.parse().ok())
            .collect()
    }

    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, HostError> {
        Host(Arc::clone(&self.shared))
            .exec(self.machine, request)
            .await
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<Connection> {
        let candidates = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) if host == "localhost" => {
                vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
            }
            Err(_) => {
                return Err(io::Error::other(
                    "name an address or localhost: names are not looked up here",
                ));
            }
        };
        let mut failure = None;
        for address in candidates {
            let target = SocketAddr::new(address, port);
            let driver = &self.shared.deps.driver;
            match driver.connect_inside(self.machine, target).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => failure = Some(io::Error::other(report(&error))),
            }
        }
        Err(failure.expect("there was an address to try"))
    }

    async fn session_began(&self, certificate: &Certificate, user: &str, what: &'static str) {
        let note = SessionNote {
            visitor: certificate.key_id().to_owned(),
            serial: certificate.serial(),
            user: user.to_owned(),
            what: what.to_owned(),
        };
        let event = Event::SessionBegan(note);
        if let Err(error) = self.shared.request(self.machine, event).await {
            warn!(machine_id = %self.machine, error = report(&error), "session not reported");
        }
    }
}
