//! Connections that are no HTTP to the edge: bytes from a client to one machine and back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::fleet::{Admission, ConnectError, Fleet, Refusal, Service, Wish};
use crate::http::{Channel, Reader};

use super::{ClientStream, splice};

/// How long a client is kept waiting for a machine, be it that one has to be woken.
const ADMISSION_PATIENCE: Duration = Duration::from_secs(60);
/// Machines tried one after the other; nothing has been said to any of them.
const TRIES: usize = 5;
/// A side that is silent for so long is asked by the kernel whether it is still there.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub(super) enum RawError {
    #[error("no machine for the connection")]
    Refused(#[from] Refusal),
    #[error("connect to a machine")]
    Connect(#[from] ConnectError),
    #[error("pass bytes on")]
    Relay(#[from] io::Error),
}

/// A machine's end of a connection, counted as its load until it is dropped.
pub(super) struct Machine {
    stream: TcpStream,
    _admission: Admission,
}

impl Machine {
    /// Admits one connection and opens it; a stopped machine is woken for it. `first` is what the machine hears before
    /// anything else.
    pub(super) async fn open(
        fleet: &Fleet,
        service: &Arc<Service>,
        first: &[u8],
    ) -> Result<Machine, RawError> {
        let deadline = Instant::now() + ADMISSION_PATIENCE;
        let mut wish = Wish::default();
        loop {
            let mut admission = fleet.admit(service, &wish, || deadline).await?;
            let connected = match admission.turn(deadline).await {
                Ok(turn) => admission.connect(turn, deadline).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok((mut stream, _)) => {
                    ask_when_silent(&stream);
                    // Interactive protocols send small pieces; they must not wait for acknowledgements.
                    let _ = stream.set_nodelay(true);
                    if !first.is_empty() {
                        stream.write_all(first).await?;
                    }
                    return Ok(Machine {
                        stream,
                        _admission: admission,
                    });
                }
                Err(error) if wish.exclude.len() + 1 < TRIES => wish.exclude.push(error.machine),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Passes bytes both ways between plain sockets until both have ended.
    pub(super) async fn relay(mut self, mut client: TcpStream) -> Result<(), RawError> {
        ask_when_silent(&client);
        let _ = client.set_nodelay(true);
        Ok(splice::relay(&mut client, &mut self.stream).await?)
    }

    /// The same for a client whose bytes the edge decodes.
    pub(super) async fn relay_decoded<S: ClientStream>(
        self,
        mut client: Channel<S>,
    ) -> Result<(), RawError> {
        let mut machine = Channel::new(self.stream);
        Ok(exchange(&mut client, &mut machine).await?)
    }
}

/// Passes the bytes of a client on to a server that is no machine, and back.
pub(super) async fn lead<S: ClientStream>(
    mut client: Channel<S>,
    inside: UnixStream,
) -> io::Result<()> {
    exchange(&mut client, &mut Channel::new(inside)).await
}

async fn exchange<A: ClientStream, B: ClientStream>(
    one: &mut Channel<A>,
    other: &mut Channel<B>,
) -> io::Result<()> {
    tokio::try_join!(
        pass(&mut one.reader, &mut other.writer),
        pass(&mut other.reader, &mut one.writer)
    )?;
    Ok(())
}

async fn pass<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut Reader<R>,
    to: &mut W,
) -> io::Result<()> {
    while from.fill().await? > 0 {
        to.write_all(from.unread()).await?;
        // TLS may hold the last record back otherwise.
        to.flush().await?;
        from.consume(from.unread().len());
        from.rest();
    }
    to.shutdown().await
}

/// Finds out about peers that are gone without a word; a kernel that refuses the options only finds out later.
fn ask_when_silent(stream: &TcpStream) {
    use rustix::net::sockopt;
    let _ = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, SILENCE))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15)))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 4));
}
