//! Traffic from an edge to the host that holds the chosen machine, when that host is on another server.
//!
//! Most programs listen on `0.0.0.0`, and a machine's IPv4 address is known on its own server only. So an edge connects
//! to the backhaul of the machine's host, at the host's own address in the tunnels, says which machine and port it means,
//! and hears in one byte whether that was reached; what follows is the connection. Who may speak here is decided by the
//! tunnel, which lets each server send as itself only, and by the firewall, which lets nobody else reach the port.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::{Backoff, Stop, TaskSet};
use mayfly_types::MachineId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use crate::fleet::{Fleet, dial_for_others};
use crate::transport::relay;

/// Where every host listens for edges of other servers.
pub const BACKHAUL_PORT: u16 = 4292;

const MAGIC: [u8; 8] = *b"mayfly01";
const ID_BYTES: usize = 14;
const WISH_BYTES: usize = MAGIC.len() + ID_BYTES + 2;
const CONNECTED: u8 = 0;
const REFUSED: u8 = 1;
const TIMED_OUT: u8 = 2;
const UNKNOWN: u8 = 3;
const OTHER: u8 = 4;

/// An edge says what it wants at once.
const WISH_PATIENCE: Duration = Duration::from_secs(5);
const CONNECTIONS_MAX: usize = 65_536;
const FAREWELL: Duration = Duration::from_secs(2);
const ACCEPT_RETRY: Backoff = Backoff {
    first: Duration::from_millis(5),
    most: Duration::from_secs(1),
};

/// Takes connections of other servers' edges to the machines of this one.
pub struct Backhaul {
    listeners: Vec<TcpListener>,
    fleet: Arc<Fleet>,
}

impl Backhaul {
    /// Listens at the hosts' own addresses in the tunnels.
    pub async fn bind(hosts: &[Ipv6Addr], fleet: Arc<Fleet>) -> io::Result<Self> {
        let mut listeners = Vec::with_capacity(hosts.len());
        for host in hosts {
            listeners.push(TcpListener::bind((*host, BACKHAUL_PORT)).await?);
        }
        Ok(Self { listeners, fleet })
    }

    /// Serves until told to stop.
    pub async fn run(self, stop: Stop) {
        let tasks = TaskSet::under(&stop);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        for listener in self.listeners {
            let (fleet, places) = (self.fleet.clone(), places.clone());
            tasks
                .spawn("edge.backhaul", |stop| {
                    accept(listener, fleet, places, stop)
                })
                .await;
        }
        stop.cancelled().await;
        tasks.shut_down(FAREWELL).await;
    }
}

async fn accept(listener: TcpListener, fleet: Arc<Fleet>, places: Arc<Semaphore>, stop: Stop) {
    let connections = TaskSet::under(&stop);
    let mut failures = 0;
    loop {
        let place = places.clone().acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                let fleet = fleet.clone();
                connections
                    .spawn_guarded("edge.backhaul.connection", |stop| async move {
                        // Either side may break off; the edge that asked sees it.
                        let _ = stop.run_until_cancelled(serve(stream, &fleet)).await;
                        drop(place);
                    })
                    .await;
            }
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY.pause(failures)).await;
                failures += 1;
            }
        }
    }
    connections.shut_down(FAREWELL).await;
}

async fn serve(mut edge: TcpStream, fleet: &Fleet) -> io::Result<()> {
    edge.set_nodelay(true)?;
    let mut wish = [0; WISH_BYTES];
    timeout(WISH_PATIENCE, edge.read_exact(&mut wish)).await??;
    let reached = match parse(&wish).and_then(|(id, port)| fleet.local_seat(id, port)) {
        None => Err(UNKNOWN),
        Some(seat) => dial_for_others(&seat)
            .await
            .map_err(|(_, error)| match error.kind() {
                io::ErrorKind::ConnectionRefused => REFUSED,
                io::ErrorKind::TimedOut => TIMED_OUT,
                _ => OTHER,
            }),
    };
    match reached {
        Ok((mut machine, _)) => {
            edge.write_all(&[CONNECTED]).await?;
            machine.set_nodelay(true)?;
            relay(&mut edge, &mut machine).await
        }
        Err(code) => edge.write_all(&[code]).await,
    }
}

fn parse(wish: &[u8; WISH_BYTES]) -> Option<(MachineId, u16)> {
    let (magic, rest) = wish.split_first_chunk()?;
    let (id, port) = rest.split_first_chunk::<ID_BYTES>()?;
    let id = std::str::from_utf8(id).ok()?.parse().ok()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    (*magic == MAGIC).then_some((id, port))
}

/// A connection to a port of a machine by the backhaul of its host.
pub(crate) async fn reach(
    backhaul: SocketAddr,
    machine: MachineId,
    port: u16,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(backhaul).await?;
    stream.set_nodelay(true)?;
    let mut wish = Vec::with_capacity(WISH_BYTES);
    wish.extend_from_slice(&MAGIC);
    wish.extend_from_slice(machine.as_str().as_bytes());
    wish.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&wish).await?;
    match stream.read_u8().await? {
        CONNECTED => Ok(stream),
        REFUSED => Err(io::ErrorKind::ConnectionRefused.into()),
        TIMED_OUT => Err(io::ErrorKind::TimedOut.into()),
        UNKNOWN => Err(io::ErrorKind::NotFound.into()),
        _ => Err(io::ErrorKind::HostUnreachable.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_wish_is_understood() {
        let id: MachineId = "e784079f004d86".parse().unwrap();
        let mut wish = [0; WISH_BYTES];
        wish[..8].copy_from_slice(&MAGIC);
        wish[8..22].copy_from_slice(id.as_str().as_bytes());
        wish[22..].copy_from_slice(&8080_u16.to_be_bytes());
        assert_eq!(parse(&wish), Some((id, 8080)));
        wish[9] = b'x';
        assert_eq!(parse(&wish), None);
        assert_eq!(parse(&[0; WISH_BYTES]), None);
    }
}
