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
use super::backend::uptime;
use super::opening::Turn;
use super::seat::Seat;
use crate::backhaul::reach;
use crate::transport::connect_here;

/// A machine is on this host or a tunnel away: longer than this without anybody being accepted means that nothing
/// answers there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long one attempt waits, from the first to the last, doubling. A program whose queue is full lets the kernel drop
/// attempts without a word, and the kernel repeats them after one second, two, four: who asks anew is heard sooner.
const FIRST_ATTEMPT: Duration = Duration::from_millis(25);
const LAST_ATTEMPT: Duration = Duration::from_millis(500);
/// To the backhaul of a machine's host, which then connects itself.
const BACKHAUL_PATIENCE: Duration = Duration::from_secs(5);
/// What such a host takes for it: its answer must be heard.
const FOR_OTHERS_PATIENCE: Duration = Duration::from_millis(4_500);
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

impl Admission {
    /// Waits for the turn to open a connection to the machine.
    ///
    /// # Errors
    /// [`ConnectError`] if it does not come in time.
    pub(crate) async fn turn(&mut self, deadline: Instant) -> Result<Turn, ConnectError> {
        // The host of a machine elsewhere sees to it for all edges.
        if self.seat().backend.backhaul.is_some() {
            return Ok(Turn::free());
        }
        match self.seat().opening().turn(deadline).await {
            Some(turn) => Ok(turn),
            None => Err(self.refuse((self.addresses()[0], io::ErrorKind::TimedOut.into()))),
        }
    }

    /// A new connection to the machine. One that has just started is tried until it accepts, at most until `deadline`,
    /// unless the service has another that does; of many requests only one tries. One that is slow to accept is asked
    /// again as long as it accepts others.
    ///
    /// # Errors
    /// [`ConnectError`] with what the last address said; nothing was sent, so another machine may be tried.
    pub(crate) async fn connect(
        &mut self,
        _turn: Turn,
        deadline: Instant,
    ) -> Result<(TcpStream, SocketAddr), ConnectError> {
        match dial(self.seat(), deadline).await {
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
                let Ok(turn) =
                    tokio::time::timeout_at(deadline, seat.opening().trying.lock()).await
                else {
                    return Err(self.refuse(last));
                };
                trying = Some(turn);
            }
            match dial(&seat, deadline).await {
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

type Dialed = Result<(TcpStream, SocketAddr), (SocketAddr, io::Error)>;

/// A connection to the machine, wherever it is: asks until it is heard, the program has accepted nobody for a while, or
/// `deadline` has passed.
async fn dial(seat: &Seat, deadline: Instant) -> Dialed {
    let began = uptime();
    let mut patience = FIRST_ATTEMPT;
    loop {
        let dialed = match seat.backend.backhaul {
            None => dial_addresses(seat.addresses(), patience).await,
            Some(backhaul) => dial_elsewhere(seat, backhaul).await,
        };
        match &dialed {
            Ok(_) => seat.opening().connected(),
            Err((_, error))
                if error.kind() == io::ErrorKind::TimedOut
                    && seat.opening().connected_within(CONNECT_PATIENCE, began)
                    && Instant::now() < deadline =>
            {
                patience = (patience * 2).min(LAST_ATTEMPT);
                continue;
            }
            Err(_) => {}
        }
        return dialed;
    }
}

/// A connection to a machine of this server, for an edge of another one; it takes its turn like all.
pub(crate) async fn dial_for_others(seat: &Seat) -> Dialed {
    let deadline = Instant::now() + FOR_OTHERS_PATIENCE;
    match seat.opening().turn(deadline).await {
        Some(_turn) => dial(seat, deadline).await,
        None => Err((seat.addresses()[0], io::ErrorKind::TimedOut.into())),
    }
}

async fn dial_elsewhere(seat: &Seat, backhaul: SocketAddr) -> Dialed {
    let reach = reach(backhaul, seat.backend.machine, seat.port);
    let reached = timeout(BACKHAUL_PATIENCE, reach).await;
    let reached = reached.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let address = seat.addresses()[0];
    reached
        .map(|stream| (stream, address))
        .map_err(|error| (address, error))
}

/// Tries the addresses of a machine of this server in turn, waiting `patience` for each.
async fn dial_addresses([first, second]: [SocketAddr; 2], patience: Duration) -> Dialed {
    let one = |address| async move {
        let connected = timeout(patience, connect_here(address)).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    };
    let error = match one(first).await {
        Ok(stream) => return Ok((stream, first)),
        Err(error) => error,
    };
    // A machine that has one of both refuses on it: what the other says tells nothing, unless it says nothing.
    match (one(second).await, error.kind()) {
        (Ok(stream), _) => Ok((stream, second)),
        (Err(other), _) if other.kind() == io::ErrorKind::TimedOut => Err((second, other)),
        (Err(_), io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut) => Err((first, error)),
        (Err(other), _) => Err((second, other)),
    }
}
