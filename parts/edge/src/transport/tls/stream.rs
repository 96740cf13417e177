//! A client's connection after its handshake: bytes read and written through TLS.
//!
//! rustls shakes hands and derives keys; records pass here, so that each is opened in the buffer it was read to, sealed in
//! the buffer it is sent from, and an idle connection keeps neither. The rules are those of RFC 8446 (4.6.3, 5, 6) and
//! RFC 5246 (7.2).

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ProtocolVersion, SupportedCipherSuite};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::record::{self, Keys, Kind, PLAIN_MAX, RecordError};
use crate::transport::buffers;

/// What is sealed at once: a large piece of a body with its head or its frames' heads, so that both leave in one write.
const WRITE_MAX: usize = 80 * 1024;
/// Records in a row that bring no data: a client that sends only such keeps us busy for nothing.
const EMPTY_MAX: u32 = 32;

const KEY_UPDATE: u8 = 24;
const UPDATE_REQUESTED: u8 = 1;

pub(crate) struct TlsStream {
    tcp: TcpStream,
    keys: KernelConnection<ServerConnectionData>,
    version: ProtocolVersion,
    incoming: Incoming,
    outgoing: Outgoing,
}

struct Incoming {
    keys: Keys,
    /// What was read. Up to `start` it is done with, but for the data at `opened`.
    buffer: Vec<u8>,
    start: usize,
    opened: Range<usize>,
    empty: u32,
    /// Told once what came before is handed out.
    failure: Option<Fatal>,
    /// The client has said that it sends nothing more.
    ended: bool,
}

struct Outgoing {
    keys: Keys,
    /// Records that the keys may be used for.
    uses_max: u64,
    /// Sealed records, gone up to `sent`.
    buffer: Vec<u8>,
    sent: usize,
    /// We have said that we send nothing more.
    ended: bool,
}

/// RFC 8446, 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    DecodeError = 50,
    InternalError = 80,
    UserCanceled = 90,
}

impl TlsStream {
    /// The connection of a `session` that has shaken hands and whose messages were all sent; `unread` is what the client
    /// has sent since.
    pub(super) fn new(
        tcp: TcpStream,
        session: UnbufferedServerConnection,
        unread: Vec<u8>,
    ) -> io::Result<TlsStream> {
        let (secrets, keys) = session
            .dangerous_into_kernel_connection()
            .map_err(io::Error::other)?;
        let version = keys.protocol_version();
        let keys_of = |(sequence, secrets)| Keys::new(version, sequence, &secrets);
        Ok(TlsStream {
            tcp,
            version,
            incoming: Incoming {
                keys: keys_of(secrets.rx).map_err(io::Error::other)?,
                buffer: unread,
                start: 0,
                opened: 0..0,
                empty: 0,
                failure: None,
                ended: false,
            },
            outgoing: Outgoing {
                keys: keys_of(secrets.tx).map_err(io::Error::other)?,
                uses_max: uses_max(keys.negotiated_cipher_suite()),
                buffer: Vec::new(),
                sent: 0,
                ended: false,
            },
            keys,
        })
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Opens the next record that is whole; `false` if there is none. What it asks of us is put behind what is sent.
    fn open_next(&mut self) -> Result<bool, Fatal> {
        let incoming = &mut self.incoming;
        let start = incoming.start;
        let Some(length) = record::whole(&incoming.buffer[start..])? else {
            return Ok(false);
        };
        incoming.start += length;
        let record = &mut incoming.buffer[start..start + length];
        let (kind, inside) = incoming.keys.open(record)?;
        let inside = start + inside.start..start + inside.end;
        if kind == Kind::Data && !inside.is_empty() {
            incoming.empty = 0;
            incoming.opened = inside;
            return Ok(true);
        }
        incoming.empty += 1;
        if incoming.empty > EMPTY_MAX {
            return Err(Fatal(Alert::UnexpectedMessage, "nothing but empty records"));
        }
        match (kind, &incoming.buffer[inside]) {
            (Kind::Data, _) => {}
            (Kind::Alert, &[_, alert]) if alert == Alert::CloseNotify as u8 => {
                incoming.ended = true
            }
            (Kind::Alert, &[_, alert]) if alert == Alert::UserCanceled as u8 => {}
            (Kind::Alert, &[_, _]) => return Err(Fatal(Alert::CloseNotify, "the client gave up")),
            (Kind::Alert, _) => {
                return Err(Fatal(Alert::DecodeError, "an alert of another length"));
            }
            (Kind::Handshake, &[KEY_UPDATE, 0, 0, 1, request @ 0..=UPDATE_REQUESTED])
                if self.version == ProtocolVersion::TLSv1_3 =>
            {
                let (sequence, secrets) = self.keys.update_rx_secret().map_err(internal)?;
                incoming.keys = Keys::new(self.version, sequence, &secrets)?;
                if request == UPDATE_REQUESTED {
                    self.renew_keys()?;
                }
            }
            // Neither handshakes anew (RFC 5746, 4.5) nor proofs by clients are offered.
            (Kind::Handshake, _) => {
                return Err(Fatal(Alert::UnexpectedMessage, "a handshake of its own"));
            }
        }
        Ok(true)
    }

    /// Goes on with new keys for what is sent (RFC 8446, 4.6.3).
    fn renew_keys(&mut self) -> Result<(), Fatal> {
        let update = [KEY_UPDATE, 0, 0, 1, 0];
        self.outgoing
            .seal(Kind::Handshake, |out| out.extend_from_slice(&update))?;
        let (sequence, secrets) = self.keys.update_tx_secret().map_err(internal)?;
        self.outgoing.keys = Keys::new(self.version, sequence, &secrets)?;
        Ok(())
    }

    /// Says why the connection ends, if the client takes it at once.
    fn fail(&mut self, fatal: Fatal) -> io::Error {
        let Fatal(alert, reason) = fatal;
        self.incoming.ended = true;
        let _ = self.outgoing.end([2, alert as u8]);
        self.outgoing.try_send(&self.tcp);
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }

    fn poll_write_parts(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.outgoing.poll_send(&self.tcp, context))?;
        if self.outgoing.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let count = all.min(WRITE_MAX);
        let (mut parts, mut left) = (Parts(parts, 0), count);
        while left > 0 {
            if self.outgoing.keys.uses() >= self.outgoing.uses_max {
                if self.version != ProtocolVersion::TLSv1_3 {
                    let fatal = Fatal(
                        Alert::CloseNotify,
                        "the keys were used as often as they may be",
                    );
                    return Poll::Ready(Err(self.fail(fatal)));
                }
                self.renew_keys()
                    .map_err(|Fatal(_, reason)| io::Error::other(reason))?;
            }
            let piece = left.min(PLAIN_MAX);
            let sealed = self
                .outgoing
                .seal(Kind::Data, |out| parts.move_to(out, piece));
            sealed.map_err(io::Error::other)?;
            left -= piece;
        }
        // What does not leave at once leaves with the next write or flush.
        match self.outgoing.poll_send(&self.tcp, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }
}

impl Outgoing {
    fn seal(&mut self, kind: Kind, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), RecordError> {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::take();
        }
        self.keys.seal(kind, &mut self.buffer, fill)
    }

    fn end(&mut self, alert: [u8; 2]) -> Result<(), RecordError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.seal(Kind::Alert, |out| out.extend_from_slice(&alert))
    }

    /// Sends all that is sealed.
    fn poll_send(&mut self, tcp: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.buffer.len() {
            self.sent += ready!(buffers::poll_send(tcp, context, &self.buffer[self.sent..]))?;
        }
        self.settle();
        Poll::Ready(Ok(()))
    }

    /// Sends what reading has put there. What cannot leave now, and what fails, does so with what is written next: only who
    /// writes waits for room.
    fn try_send(&mut self, tcp: &TcpStream) {
        if self.sent < self.buffer.len()
            && let Ok(count) = buffers::try_send(tcp, &self.buffer[self.sent..])
        {
            self.sent += count;
            self.settle();
        }
    }

    /// Gives the buffer's memory back once all has left.
    fn settle(&mut self) {
        if self.sent == self.buffer.len() && self.buffer.capacity() > 0 {
            self.sent = 0;
            self.buffer.clear();
            buffers::give_back(std::mem::take(&mut self.buffer));
        }
    }
}

impl Incoming {
    /// Gives away what was opened, as far as it fits.
    fn hand_out(&mut self, into: &mut ReadBuf<'_>) {
        let count = self.opened.len().min(into.remaining());
        into.put_slice(&self.buffer[self.opened.start..self.opened.start + count]);
        self.opened.start += count;
    }

    /// Forgets what is done with; nothing is opened.
    fn settle(&mut self) {
        self.buffer.drain(..self.start);
        (self.start, self.opened) = (0, 0..0);
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            buffers::give_back(std::mem::take(&mut self.buffer));
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        loop {
            this.incoming.hand_out(into);
            if !this.incoming.opened.is_empty() || into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !this.incoming.ended && this.incoming.failure.is_none() {
                match this.open_next() {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(fatal) => this.incoming.failure = Some(fatal),
                }
            }
            if into.filled().len() == before
                && let Some(fatal) = this.incoming.failure.take()
            {
                return Poll::Ready(Err(this.fail(fatal)));
            }
            if into.filled().len() > before || this.incoming.ended {
                this.incoming.settle();
                return Poll::Ready(Ok(()));
            }
            this.outgoing.try_send(&this.tcp);
            this.incoming.settle();
            let read = buffers::poll_fill(&mut this.incoming.buffer, |buffer| {
                buffers::poll_receive(&this.tcp, context, buffer)
            });
            if ready!(read)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_parts(context, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_parts(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.outgoing.poll_send(&this.tcp, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let goodbye = [1, Alert::CloseNotify as u8];
        this.outgoing.end(goodbye).map_err(io::Error::other)?;
        ready!(this.outgoing.poll_send(&this.tcp, context))?;
        Pin::new(&mut this.tcp).poll_shutdown(context)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("tcp", &self.tcp)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Bytes in several places, of which the first have been taken.
struct Parts<'a>(&'a [IoSlice<'a>], usize);

impl Parts<'_> {
    fn move_to(&mut self, out: &mut Vec<u8>, mut count: usize) {
        let Parts(parts, taken) = self;
        while count > 0
            && let Some(part) = parts.first()
        {
            let piece = count.min(part.len() - *taken);
            out.extend_from_slice(&part[*taken..*taken + piece]);
            count -= piece;
            *taken += piece;
            if *taken == part.len() {
                (*parts, *taken) = (&parts[1..], 0);
            }
        }
    }
}

/// Why a connection ends, as the client is told and as we log it.
#[derive(Clone, Copy, Debug)]
struct Fatal(Alert, &'static str);

impl From<RecordError> for Fatal {
    fn from(error: RecordError) -> Fatal {
        let alert = match error {
            RecordError::Unexpected => Alert::UnexpectedMessage,
            RecordError::TooLong => Alert::RecordOverflow,
            RecordError::Garbled => Alert::BadRecordMac,
            RecordError::Key => Alert::InternalError,
        };
        Fatal(alert, error.reason())
    }
}

fn internal(_: rustls::Error) -> Fatal {
    Fatal(Alert::InternalError, "keys cannot be renewed")
}

/// How many records one key may seal (RFC 8446, 5.5), and room for those that are under way.
fn uses_max(suite: SupportedCipherSuite) -> u64 {
    let limit = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
    };
    limit - limit / 8
}
