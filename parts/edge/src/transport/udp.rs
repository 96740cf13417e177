//! Datagrams of dedicated addresses: each client gets a machine, and keeps it while it goes on talking.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_machine::Protocol;
use mayfly_runtime::Stop;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::fleet::{Fleet, Wish};

use super::Door;
use super::gate::Gate;

/// A client that neither says nor hears anything for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// How long the first datagrams wait for a machine.
const ADMISSION_PATIENCE: Duration = Duration::from_secs(30);
/// The largest datagram there is.
const DATAGRAM_MAX: usize = 65_535;
/// Datagrams of one client that wait; more are lost, as datagrams may be.
const WAITING: usize = 64;
/// Clients of one door at a time.
const CLIENTS_MAX: usize = 16_384;

impl Gate {
    /// Passes datagrams on until `stop`.
    pub(super) async fn serve_udp(self: Arc<Self>, socket: UdpSocket, door: Door, stop: Stop) {
        let socket = Arc::new(socket);
        let mut flows: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => return,
                received = socket.recv_from(&mut buffer) => received,
            };
            let (count, client) = match received {
                Ok(received) => received,
                // A client that does not listen any more; no matter of the others.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => {
                    tracing::warn!(address = %door.address(), error = %error, "receive failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let datagram = buffer[..count].to_vec();
            let datagram = match flows.get(&client).map(|flow| flow.try_send(datagram)) {
                Some(Ok(()) | Err(mpsc::error::TrySendError::Full(_))) => continue,
                Some(Err(mpsc::error::TrySendError::Closed(datagram))) => datagram,
                None => buffer[..count].to_vec(),
            };
            if flows.len() >= CLIENTS_MAX {
                flows.retain(|_, flow| !flow.is_closed());
                if flows.len() >= CLIENTS_MAX {
                    continue;
                }
            }
            let (sender, waiting) = mpsc::channel(WAITING);
            sender
                .try_send(datagram)
                .expect("a new channel has room for one");
            flows.insert(client, sender);
            let (gate, socket) = (Arc::clone(&self), Arc::clone(&socket));
            self.connections
                .spawn_guarded("edge.datagrams", |stop| async move {
                    let fleet = &gate.core.fleet;
                    let passed = tokio::select! {
                        () = stop.cancelled() => return,
                        passed = pass(fleet, &socket, door, client, waiting) => passed,
                    };
                    if let Err(error) = passed {
                        tracing::debug!(%client, error = %error, "datagrams not passed on");
                    }
                })
                .await;
        }
    }
}

/// Serves one client until it has been idle.
async fn pass(
    fleet: &Fleet,
    socket: &UdpSocket,
    door: Door,
    client: SocketAddr,
    mut waiting: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let table = fleet.table();
    let service = table
        .by_address(door.ip)
        .and_then(|app| app.port(door.port, Protocol::Udp))
        .map(|(service, _)| Arc::clone(service))
        .ok_or_else(|| io::Error::other("no service at this port"))?;
    drop(table);
    let deadline = Instant::now() + ADMISSION_PATIENCE;
    let admission = fleet
        .admit(&service, &Wish::default(), || deadline)
        .await
        .map_err(io::Error::other)?;
    let address = admission.addresses()[0];
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let machine = UdpSocket::bind(any).await?;
    machine.connect(address).await?;
    let mut idle_at = Instant::now() + IDLE;
    loop {
        tokio::select! {
            datagram = waiting.recv() => match datagram {
                Some(datagram) => lossy(machine.send(&datagram).await)?,
                None => return Ok(()),
            },
            readable = machine.readable() => {
                readable?;
                // Silent clients are many: they hold nothing.
                let mut buffer = Vec::with_capacity(DATAGRAM_MAX);
                match machine.try_recv_buf(&mut buffer) {
                    Ok(_) => lossy(socket.send_to(&buffer, client).await)?,
                    Err(error) => lossy(Err(error))?,
                }
            }
            () = sleep_until(idle_at) => return Ok(()),
        }
        idle_at = Instant::now() + IDLE;
    }
}

/// What is an error of one datagram only.
fn lossy(sent: io::Result<usize>) -> io::Result<()> {
    match sent {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
            ) && error.raw_os_error() != Some(rustix::io::Errno::MSGSIZE.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}
