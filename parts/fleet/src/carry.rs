use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::line::{DATA, END, Line, PIECE_BYTES};

/// Carries bytes both ways between a connection of the fleet and a stream, until both directions have ended or one side
/// breaks. The end of one direction is passed on and leaves the other alone.
pub(crate) async fn carry<S>(line: Line, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (outward, inward) = ways(line, stream);
    tokio::try_join!(outward, inward).map(drop)
}

/// As [`carry`], for a stream that asks and a line that answers: it is over when nothing more will be answered.
pub(crate) async fn carry_answers<S>(line: Line, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (outward, inward) = ways(line, stream);
    let broken = async {
        outward.await?;
        std::future::pending().await
    };
    tokio::select! {
        answered = inward => answered,
        broken = broken => broken,
    }
}

/// From the stream to the line, and the other way.
fn ways<S>(
    line: Line,
    stream: S,
) -> (
    impl Future<Output = io::Result<()>>,
    impl Future<Output = io::Result<()>>,
)
where
    S: AsyncRead + AsyncWrite,
{
    let Line {
        mut reader,
        mut writer,
    } = line;
    let (mut from, mut to) = tokio::io::split(stream);
    let outward = async move {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = from.read(&mut piece).await?;
            if count == 0 {
                return writer.frame(END, &[]).await;
            }
            writer.frame(DATA, &piece[..count]).await?;
        }
    };
    let inward = async move {
        loop {
            let frame = reader.expect().await?;
            match frame.kind {
                DATA => to.write_all(&frame.bytes).await?,
                END => return to.shutdown().await,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    };
    (outward, inward)
}
