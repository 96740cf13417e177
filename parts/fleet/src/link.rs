use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mayfly_edge_api::EdgeLoad;
use mayfly_fleet_api::{Call, CallError};
use mayfly_net::MutualTls;
use mayfly_types::ErrorKind;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::line::{Line, watch_over};

/// From the first packet to the end of the handshake.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// After a connection could not be made, calls fail at once for so long: callers of a dead server need not queue.
const AWAY_FOR: Duration = Duration::from_millis(500);
/// The next report comes soon.
const LOAD_PATIENCE: Duration = Duration::from_secs(2);
/// Connections kept for the next calls.
const IDLE_MAX: usize = 8;

/// Why a call to another server came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It was not reached, or fell silent. Whether it acted is not known.
    #[error("reach {address}")]
    Unreachable {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Refused(CallError),
}

impl LinkError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            LinkError::Unreachable { .. } => ErrorKind::Unavailable,
            LinkError::Refused(error) => error.kind(),
        }
    }
}

/// The way to one other server: connections are made when needed and used again. Clones share it.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    tls: Arc<MutualTls>,
    /// What its certificate must say.
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    address: String,
    idle: Vec<Line>,
    away: Option<(Instant, String)>,
}

impl Link {
    pub fn new(tls: Arc<MutualTls>, name: String, address: String) -> Self {
        Self(Arc::new(Inner {
            tls,
            name,
            state: Mutex::new(State {
                address,
                ..State::default()
            }),
        }))
    }

    /// The server is to be found elsewhere from now on.
    pub fn moved(&self, address: &str) {
        let mut state = self.state();
        if state.address != address {
            *state = State {
                address: address.to_owned(),
                ..State::default()
            };
        }
    }

    pub fn address(&self) -> String {
        self.state().address.clone()
    }

    /// The address of this end of a connection to the server.
    pub async fn own_address(&self) -> Result<std::net::IpAddr, LinkError> {
        let connect = TcpStream::connect(self.address());
        let stream = timeout(CONNECT_PATIENCE, connect)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let address = stream.and_then(|stream| stream.local_addr());
        Ok(address.map_err(|source| self.unreachable(source))?.ip())
    }

    /// One call and its answer within `patience`. A connection that broke while it lay idle is replaced: repeating a call
    /// is safe.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        call: &Call,
        patience: Duration,
    ) -> Result<T, LinkError> {
        let idle = self.state().idle.pop();
        let deadline = Instant::now() + patience;
        if let Some(mut line) = idle
            && let Ok(answer) = self.exchange(&mut line, call, deadline).await
        {
            return self.done(line, answer);
        }
        let mut line = self.connect().await?;
        let answer = self.exchange(&mut line, call, deadline).await?;
        self.done(line, answer)
    }

    /// Tells the control plane how busy this server's edges are.
    ///
    /// # Errors
    /// [`LinkError`]; what was said is old when it would be said again.
    pub async fn say_load(&self, load: EdgeLoad) -> Result<(), LinkError> {
        self.ask(&Call::Load(load), LOAD_PATIENCE).await
    }

    /// A connection for `call` alone, which was granted.
    pub(crate) async fn stream(&self, call: &Call) -> Result<Line, LinkError> {
        let mut line = self.connect().await?;
        let deadline = Instant::now() + Duration::from_secs(20);
        match self.exchange::<()>(&mut line, call, deadline).await? {
            Ok(()) => Ok(line),
            Err(error) => Err(LinkError::Refused(error)),
        }
    }

    /// A new connection to the server.
    pub(crate) async fn connect(&self) -> Result<Line, LinkError> {
        let address = {
            let state = self.state();
            if let Some((until, reason)) = &state.away
                && Instant::now() < *until
            {
                return Err(self.unreachable_at(&state.address, io::Error::other(reason.clone())));
            }
            state.address.clone()
        };
        let connect = async {
            let stream = TcpStream::connect(&address).await?;
            watch_over(&stream)?;
            self.0.tls.connect(stream, &self.0.name).await
        };
        let connected = timeout(CONNECT_PATIENCE, connect)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut state = self.state();
        if state.address != address {
            // It moved meanwhile: the next try goes there.
            return Err(self.unreachable_at(&address, io::ErrorKind::NotConnected.into()));
        }
        match connected {
            Ok(stream) => {
                state.away = None;
                Ok(Line::new(stream))
            }
            Err(source) => {
                state.idle.clear();
                state.away = Some((Instant::now() + AWAY_FOR, source.to_string()));
                Err(self.unreachable_at(&address, source))
            }
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        line: &mut Line,
        call: &Call,
        deadline: Instant,
    ) -> Result<Result<T, CallError>, LinkError> {
        tokio::time::timeout_at(deadline, line.ask(call))
            .await
            .unwrap_or_else(|_| {
                let late = "it did not answer in time";
                Err(io::Error::new(io::ErrorKind::TimedOut, late))
            })
            .map_err(|source| self.unreachable(source))
    }

    fn done<T>(&self, line: Line, answer: Result<T, CallError>) -> Result<T, LinkError> {
        let mut state = self.state();
        if state.idle.len() < IDLE_MAX {
            state.idle.push(line);
        }
        answer.map_err(LinkError::Refused)
    }

    pub(crate) fn unreachable(&self, source: io::Error) -> LinkError {
        self.unreachable_at(&self.address(), source)
    }

    fn unreachable_at(&self, address: &str, source: io::Error) -> LinkError {
        LinkError::Unreachable {
            address: address.to_owned(),
            source,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }
}
