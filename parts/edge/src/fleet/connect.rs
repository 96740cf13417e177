use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mayfly_machine::MachineState;
use mayfly_routing::{Candidate, Standing};
use mayfly_types::MachineId;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::admission::Admission;
use super::seat::Seat;
use crate::backhaul::reach;

/// A machine is on this host or a tunnel away: longer than this means that nothing answers there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// To the backhaul of a machine's host, which then connects itself.
const BACKHAUL_PATIENCE: Duration = Duration::from_secs(5);
/// How often a machine that has just started is tried until it accepts: from the first to the last, doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// A program that does not accept so long after its machine's start is not starting any more.
const STARTUP: Duration = Duration::from_secs(60);

/// A machine that was chosen does not accept connections.
#[derive(Debug, thiserror::Error)]
#[error("machine {machine} does not accept connections at {address}")]
pub(crate) struct ConnectError {
    pub(crate) machine: MachineId,
    pub(crate) address: SocketAddr,
    #[source]
    pub(crate) source: io::Error,
}

impl ConnectError {
    /// <https://fly.io/docs/monitoring/error-codes/#connection-errors>.
    pub(crate) fn code(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::ConnectionRefused => "PC01",
            io::ErrorKind::ConnectionReset => "PC03",
            io::ErrorKind::ConnectionAborted => "PC04",
            io::ErrorKind::TimedOut => "PC05",
            _ => "PC06",
        }
    }
}

impl Admission {
    /// A new connection to the machine. One that has just started is tried until it accepts, at most until `deadline`,
    /// unless the service has another that does; of many requests only one tries.
    ///
    /// # Errors
    /// [`ConnectError`] with what the last address said; nothing was sent, so another machine may be tried.
    pub(crate) async fn connect(
        &mut self,
        deadline: Instant,
    ) -> Result<(TcpStream, SocketAddr), ConnectError> {
        match dial(self.seat()).await {
            Ok(connected) => {
                self.seat().accepted();
                Ok(connected)
            }
            Err(error) if self.may_still_begin() => self.await_begin(deadline, error).await,
            Err(error) => Err(self.refuse(error)),
        }
    }

    async fn await_begin(
        &mut self,
        deadline: Instant,
        mut last: (SocketAddr, io::Error),
    ) -> Result<(TcpStream, SocketAddr), ConnectError> {
        let seat = Arc::clone(self.seat());
        let mut trying = None;
        let mut pause = FIRST_PAUSE;
        loop {
            if trying.is_none() && !seat.accepts() {
                let Ok(turn) = tokio::time::timeout_at(deadline, seat.trying.lock()).await else {
                    return Err(self.refuse(last));
                };
                trying = Some(turn);
            }
            match dial(&seat).await {
                Ok(connected) => {
                    seat.accepted();
                    return Ok(connected);
                }
                Err(error) => last = error,
            }
            if !self.may_still_begin() || Instant::now() + pause >= deadline {
                return Err(self.refuse(last));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Whether the program may be on its way to its port, with nothing better to turn to.
    fn may_still_begin(&self) -> bool {
        let backend = &self.seat().backend;
        let begins = match backend.state() {
            MachineState::Started | MachineState::Updating => backend.age() < STARTUP,
            _ => backend.is_being_woken(),
        };
        let has_other = || {
            self.service.members.iter().any(|member| {
                !Arc::ptr_eq(&member.seat, self.seat())
                    && member.standing() == Standing::Ready
                    && member.load() < member.hard()
            })
        };
        begins && !has_other()
    }

    fn refuse(&mut self, (address, source): (SocketAddr, io::Error)) -> ConnectError {
        self.failed();
        self.seat().refused();
        ConnectError {
            machine: self.seat().backend.machine,
            address,
            source,
        }
    }
}

/// A connection to the machine, wherever it is.
async fn dial(seat: &Seat) -> Result<(TcpStream, SocketAddr), (SocketAddr, io::Error)> {
    let addresses = seat.addresses();
    let Some(backhaul) = seat.backend.backhaul else {
        return dial_local(addresses).await;
    };
    let reach = reach(backhaul, seat.backend.machine, seat.port);
    let reached = timeout(BACKHAUL_PATIENCE, reach).await;
    let reached = reached.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match reached {
        Ok(stream) => Ok((stream, addresses[0])),
        Err(error) => Err((addresses[0], error)),
    }
}

/// Tries the addresses of a machine of this server in turn; the error is the last one's.
pub(crate) async fn dial_local(
    [first, second]: [SocketAddr; 2],
) -> Result<(TcpStream, SocketAddr), (SocketAddr, io::Error)> {
    match dial_one(first).await {
        Ok(stream) => Ok((stream, first)),
        Err(error) => match dial_one(second).await {
            Ok(stream) => Ok((stream, second)),
            // A machine that has one of both refuses on it; what the other says tells nothing.
            Err(_) if error.kind() == io::ErrorKind::ConnectionRefused => Err((first, error)),
            Err(error) => Err((second, error)),
        },
    }
}

async fn dial_one(address: SocketAddr) -> io::Result<TcpStream> {
    let connected = timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
