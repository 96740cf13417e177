use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;

/// Bytes read at once: large enough that a message's own cost does not count.
const PIECE: usize = 128 << 10;

/// What came by a message of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Empty: no more bytes come from that side.
    Bytes(Bytes),
    /// The message was about the connection itself.
    Nothing,
    /// The other side is gone, or speaks otherwise than agreed.
    Gone,
}

/// Carries a connection's bytes in messages, such as those of a WebSocket, until both sides have said by an empty message
/// that no more comes, or one of them is gone.
///
/// A reader that breaks has no more to say, like one that ends. Dropping the future closes nothing.
pub async fn carry<E>(
    incoming: impl Stream<Item = Piece>,
    outgoing: impl Sink<Bytes, Error = E>,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
) {
    let mut outgoing = pin!(outgoing);
    let (ended, heard_end) = oneshot::channel();
    let both_ended = async {
        if outward(reader, outgoing.as_mut()).await.is_ok() {
            // Fails when the other future has ended, which ends this one.
            let _ = heard_end.await;
        }
    };
    tokio::select! {
        () = inward(incoming, writer, ended) => {}
        () = both_ended => {}
    }
    // The other side may be gone.
    let _ = outgoing.close().await;
}

/// Returns when the other side is gone, or the writer takes no more.
async fn inward(
    incoming: impl Stream<Item = Piece>,
    mut writer: impl AsyncWrite + Unpin,
    ended: oneshot::Sender<()>,
) {
    let mut incoming = pin!(incoming);
    let mut ended = Some(ended);
    while let Some(piece) = incoming.next().await {
        let done = match piece {
            Piece::Bytes(bytes) if bytes.is_empty() => {
                let done = writer.shutdown().await;
                ended.take().map(|ended| ended.send(()));
                done
            }
            Piece::Bytes(bytes) => match writer.write_all(&bytes).await {
                Ok(()) => writer.flush().await,
                failed => failed,
            },
            Piece::Nothing => Ok(()),
            Piece::Gone => return,
        };
        if done.is_err() {
            return;
        }
    }
}

async fn outward<E>(
    mut reader: impl AsyncRead + Unpin,
    mut outgoing: impl Sink<Bytes, Error = E> + Unpin,
) -> Result<(), E> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        let read = reader.read_buf(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return outgoing.send(Bytes::new()).await;
        }
        outgoing.send(buffer.split().freeze()).await?;
    }
}
