//! The handshake: rustls says what is to be sent and read, and it is done here.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::HandshakeError;
use super::record::HEADER;
use super::stream::TlsStream;

/// More than any handshake takes from its client; the buffer would grow without end otherwise.
const READ_MAX: usize = 64 * 1024;

/// What a handshake agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    /// HTTP/2; otherwise whatever the port speaks.
    pub(crate) h2: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub(crate) version: &'static str,
}

/// Shakes hands with the client whose first bytes are `incoming`.
///
/// Not cancellable without losing the connection.
pub(super) async fn shake_hands(
    mut tcp: TcpStream,
    mut incoming: Vec<u8>,
    config: Arc<ServerConfig>,
) -> Result<(TlsStream, Agreed), HandshakeError> {
    let session = UnbufferedServerConnection::new(config);
    let mut session = session.map_err(HandshakeError::refused)?;
    let mut outgoing = Vec::new();
    // What rustls may see: a record only once it asks for one. What the client sends after its last message is not for it,
    // because new keys asked for there would have to be told with the first data that rustls sends, and it sends none.
    let mut shown = 0;
    loop {
        let UnbufferedStatus { discard, state } =
            session.process_tls_records(&mut incoming[..shown]);
        let next = match state {
            Ok(ConnectionState::EncodeTlsData(message)) => {
                encode(message, &mut outgoing).map_err(HandshakeError::Refused)?;
                Next::Go
            }
            Ok(ConnectionState::TransmitTlsData(message)) => {
                message.done();
                Next::Send
            }
            Ok(ConnectionState::BlockedHandshake) => Next::Read,
            Ok(ConnectionState::WriteTraffic(_)) => Next::End,
            Ok(_) => return Err(HandshakeError::Left),
            Err(error) => {
                // The alert is a courtesy; a client that does not take it at once goes without.
                while let Ok(ConnectionState::EncodeTlsData(message)) =
                    session.process_tls_records(&mut []).state
                {
                    if encode(message, &mut outgoing).is_err() {
                        break;
                    }
                }
                let _ = tcp.try_write(&outgoing);
                return Err(HandshakeError::refused(error));
            }
        };
        incoming.drain(..discard);
        shown -= discard;
        match next {
            Next::Go => {}
            Next::Send => {
                tcp.write_all(&outgoing)
                    .await
                    .map_err(HandshakeError::Refused)?;
                outgoing.clear();
            }
            Next::Read => {
                while shown == end_of_record(&incoming, shown) {
                    if incoming.len() >= READ_MAX {
                        return Err(HandshakeError::refused("a message longer than any is"));
                    }
                    match tcp.read_buf(&mut incoming).await {
                        Ok(0) => return Err(HandshakeError::Left),
                        Ok(_) => {}
                        Err(error) => return Err(HandshakeError::Refused(error)),
                    }
                }
                shown = end_of_record(&incoming, shown);
            }
            Next::End => break,
        }
    }
    let agreed = Agreed {
        h2: session.alpn_protocol() == Some(b"h2"),
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
    };
    let stream = TlsStream::new(tcp, session, incoming).map_err(HandshakeError::Refused)?;
    Ok((stream, agreed))
}

/// What a state of the handshake asks for.
enum Next {
    Go,
    Send,
    Read,
    End,
}

/// Where the record ends that begins at `start`; `start` itself while it is not whole.
fn end_of_record(bytes: &[u8], start: usize) -> usize {
    let [_, _, _, high, low, ..] = bytes[start..] else {
        return start;
    };
    let end = start + HEADER + usize::from(u16::from_be_bytes([high, low]));
    if end <= bytes.len() { end } else { start }
}

fn encode<Data>(mut message: EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    let start = outgoing.len();
    let length = match message.encode(&mut []) {
        Ok(length) => length,
        Err(EncodeError::InsufficientSize(size)) => {
            outgoing.resize(start + size.required_size, 0);
            let encoded = message.encode(&mut outgoing[start..]);
            encoded.map_err(io::Error::other)?
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    outgoing.truncate(start + length);
    Ok(())
}
