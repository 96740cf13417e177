use std::io;
use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::{Clock, Stop};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::connection::Connected;
use crate::exchange::{self, NEWKEYS, Versions};
use crate::guest::Guest;
use crate::keys::HostKey;
use crate::packet::{PacketReader, PacketWriter, bad};
use crate::sign_in::sign_in;

const VERSION: &str = concat!("SSH-2.0-Mayfly_", env!("CARGO_PKG_VERSION"));

/// From the first byte to the signed-in user.
const SIGN_IN_MAX: Duration = Duration::from_secs(60);

const IGNORE: u8 = 2;
const UNIMPLEMENTED: u8 = 3;
const DEBUG: u8 = 4;

/// What all servers of a host share.
pub struct ServerConfig {
    pub host_key: HostKey,
    pub clock: Arc<dyn Clock>,
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("sign a client in")]
    SignIn(#[source] io::Error),
    #[error("serve a client")]
    Session(#[source] io::Error),
}

/// Serves one client until it leaves or `stop`.
///
/// # Errors
/// The client broke the protocol, could not sign in in time, or its connection failed.
pub async fn serve<S>(
    stream: S,
    config: Arc<ServerConfig>,
    guest: Arc<dyn Guest>,
    stop: Stop,
) -> Result<(), SshError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = PacketReader::new(tokio::io::BufReader::with_capacity(64 << 10, reader));
    let mut writer = PacketWriter::new(writer);
    let beginning = async {
        let versions = greet(&mut reader, &mut writer).await?;
        let (session, strict) =
            first_exchange(&mut reader, &mut writer, &versions, &config).await?;
        let signed_in = sign_in(&mut reader, &mut writer, &config, &*guest, &session).await?;
        Ok((versions, session, strict, signed_in))
    };
    let begun = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        begun = timeout(SIGN_IN_MAX, beginning) => begun,
    };
    let begun = begun.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let (versions, session, strict, signed_in) = begun.map_err(SshError::SignIn)?;
    let connected = Connected {
        config,
        guest,
        versions,
        session,
        strict,
        signed_in: Arc::new(signed_in),
    };
    connected
        .run(reader, writer, stop)
        .await
        .map_err(SshError::Session)
}

async fn greet<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut PacketReader<R>,
    writer: &mut PacketWriter<W>,
) -> io::Result<Versions> {
    writer.send_line(&format!("{VERSION}\r\n")).await?;
    let client = reader.line().await?;
    if !client.starts_with("SSH-2.0-") && !client.starts_with("SSH-1.99-") {
        return Err(bad("the client does not speak SSH 2"));
    }
    Ok(Versions {
        client,
        server: VERSION.to_owned(),
    })
}

/// The id of the session, and whether key exchange is strict.
async fn first_exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut PacketReader<R>,
    writer: &mut PacketWriter<W>,
    versions: &Versions,
    config: &ServerConfig,
) -> io::Result<([u8; 32], bool)> {
    let ours = exchange::proposal()?;
    writer.send(&ours).await?;
    let theirs = next(reader, false).await?;
    let choice = exchange::choose(&theirs)?;
    if choice.skip_next {
        next(reader, choice.strict).await?;
    }
    let packet = next(reader, choice.strict).await?;
    let proposals = (theirs.as_slice(), ours.as_slice());
    let exchanged = exchange::answer(
        versions,
        &config.host_key,
        proposals,
        &choice,
        &packet,
        None,
    )?;
    writer.queue(&exchanged.reply)?;
    writer.send(&[NEWKEYS]).await?;
    writer.renew(&exchanged.outgoing, choice.strict);
    if next(reader, choice.strict).await? != [NEWKEYS] {
        return Err(bad("another packet amid a key exchange"));
    }
    reader.renew(&exchanged.incoming, choice.strict);
    Ok((exchanged.hash, choice.strict))
}

/// The next packet that counts.
pub(crate) async fn next<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
    strict: bool,
) -> io::Result<Vec<u8>> {
    loop {
        let (packet, _) = reader.next().await?;
        let counts = !matches!(packet.first(), Some(&(IGNORE | UNIMPLEMENTED | DEBUG)));
        if counts {
            return Ok(packet);
        }
        if strict {
            return Err(bad("another packet amid a key exchange"));
        }
    }
}
