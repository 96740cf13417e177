//! How PostgreSQL's clients come to TLS: they ask in plain text first.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
const CANCEL: [u8; 8] = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e];
const TLS_RECORD: u8 = 22;

/// What a client wants, after it was answered as far as that goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The next bytes are TLS.
    Tls,
    /// Clients before version 17 cancel a query by a connection without TLS, which holds a secret of its own. These
    /// bytes belong to it.
    Cancel([u8; 8]),
    /// It did not ask for TLS and was told to.
    Plain,
}

/// Reads and answers what comes before TLS.
pub(super) async fn open(stream: &mut TcpStream) -> io::Result<Opening> {
    loop {
        let mut first = [0; 1];
        stream.peek(&mut first).await?;
        // `sslnegotiation=direct` begins with the handshake.
        if first[0] == TLS_RECORD {
            return Ok(Opening::Tls);
        }
        let mut request = [0; 8];
        stream.read_exact(&mut request).await?;
        match request {
            SSL_REQUEST => {
                stream.write_all(b"S").await?;
                return Ok(Opening::Tls);
            }
            // Not spoken here; the client goes on with another request.
            GSS_REQUEST => stream.write_all(b"N").await?,
            CANCEL => return Ok(Opening::Cancel(request)),
            _ => {
                stream.write_all(&refusal()).await?;
                return Ok(Opening::Plain);
            }
        }
    }
}

/// An ErrorResponse, which clients show to their users.
fn refusal() -> Vec<u8> {
    let fields = b"SFATAL\0VFATAL\0C28000\0Mthis address takes connections with TLS only: use sslmode=require\0\0";
    let length = u32::try_from(fields.len() + 4).expect("a short message");
    [b"E", &length.to_be_bytes()[..], fields].concat()
}
