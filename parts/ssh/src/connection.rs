//! What a signed-in client does: channels beside each other on one connection, RFC 4254.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use mayfly_runtime::{Stop, TaskSet};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::channel::{Channel, Input, Outbox, Peer, session, tcp};
use crate::exchange::{self, KEXINIT, NEWKEYS, Versions};
use crate::guest::Guest;
use crate::packet::{DirectionKey, PacketReader, PacketWriter, bad};
use crate::server::{ServerConfig, next};
use crate::sign_in::SignedIn;
use crate::wire::{Malformed, Reader, Writer};

pub(crate) const DISCONNECT: u8 = 1;
const IGNORE: u8 = 2;
const UNIMPLEMENTED: u8 = 3;
const DEBUG: u8 = 4;
const GLOBAL_REQUEST: u8 = 80;
const REQUEST_FAILURE: u8 = 82;
const CHANNEL_OPEN: u8 = 90;
const OPEN_FAILURE: u8 = 92;
const WINDOW_ADJUST: u8 = 93;
const DATA: u8 = 94;
const EXTENDED_DATA: u8 = 95;
const EOF: u8 = 96;
const CLOSE: u8 = 97;
const REQUEST: u8 = 98;

/// RFC 4254, section 5.1.
const UNKNOWN_TYPE: u32 = 3;
const RESOURCE_SHORTAGE: u32 = 4;

/// Channels of one connection at once.
const CHANNELS_MAX: usize = 256;
/// Packets that wait to be sent: each at most 32 KiB, so a channel that is faster than the network is held up soon.
const PACKETS_WAITING_MAX: usize = 16;
/// Packets that are written at once.
const WRITE_BYTES: usize = 128 << 10;
/// What was decided is sent before a connection is closed.
const FAREWELL: Duration = Duration::from_millis(500);

/// A connection after its user has signed in.
pub(crate) struct Connected {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) guest: Arc<dyn Guest>,
    pub(crate) versions: Versions,
    pub(crate) session: [u8; 32],
    pub(crate) strict: bool,
    pub(crate) signed_in: Arc<SignedIn>,
}

/// For the writer, ahead of everything else.
enum Exchange {
    /// Nothing but the exchange is sent from here on.
    Begin(Vec<u8>),
    End {
        reply: Vec<u8>,
        key: DirectionKey,
    },
}

type Channels = Arc<Mutex<HashMap<u32, Channel>>>;

impl Connected {
    pub(crate) async fn run<R, W>(
        self,
        mut reader: PacketReader<R>,
        writer: PacketWriter<W>,
        stop: Stop,
    ) -> io::Result<()>
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let tasks = TaskSet::under(&stop);
        let ended = tasks.stop_token();
        let (outbox, packets) = mpsc::channel(PACKETS_WAITING_MAX);
        let (exchanges, ahead) = mpsc::channel(2);
        let strict = self.strict;
        let over = ended.clone();
        tasks
            .spawn_guarded("ssh.writer", move |_| async move {
                // A client that is gone hears nothing more.
                let _ = write(writer, packets, ahead, strict).await;
                over.cancel();
            })
            .await;
        let desk = Desk {
            connected: self,
            tasks,
            outbox: Outbox(outbox),
            exchanges,
            channels: Channels::default(),
            next_id: 0,
        };
        desk.serve(&mut reader, ended).await
    }
}

/// Sends what is queued until nobody can queue any more.
async fn write<W: AsyncWrite + Unpin>(
    mut writer: PacketWriter<W>,
    mut packets: mpsc::Receiver<Vec<u8>>,
    mut ahead: mpsc::Receiver<Exchange>,
    strict: bool,
) -> io::Result<()> {
    loop {
        tokio::select! {
            biased;
            Some(exchange) = ahead.recv() => {
                let Exchange::Begin(proposal) = exchange else {
                    return Err(bad("an exchange that ends before it begins"));
                };
                writer.send(&proposal).await?;
                let Some(Exchange::End { reply, key }) = ahead.recv().await else {
                    return Ok(());
                };
                writer.queue(&reply)?;
                writer.send(&[NEWKEYS]).await?;
                writer.renew(&key, strict);
            }
            packet = packets.recv() => {
                let Some(packet) = packet else {
                    return Ok(());
                };
                writer.queue(&packet)?;
                while writer.queued() < WRITE_BYTES && let Ok(more) = packets.try_recv() {
                    writer.queue(&more)?;
                }
                writer.flush().await?;
            }
        }
    }
}

/// Reads what the client sends and gives it to the channels.
struct Desk {
    connected: Connected,
    tasks: TaskSet,
    outbox: Outbox,
    exchanges: mpsc::Sender<Exchange>,
    channels: Channels,
    next_id: u32,
}

impl Desk {
    async fn serve<R: AsyncRead + Unpin>(
        mut self,
        reader: &mut PacketReader<R>,
        ended: Stop,
    ) -> io::Result<()> {
        let outcome = loop {
            let received = tokio::select! {
                () = ended.cancelled() => break Ok(()),
                received = reader.next() => received,
            };
            let (packet, number) = match received {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break Ok(()),
                Err(error) => break Err(error),
            };
            match self.take(reader, packet, number).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // Programs end with their channels.
        self.channels().clear();
        drop(self.outbox);
        self.tasks.shut_down(FAREWELL).await;
        outcome
    }

    /// False when the client says farewell.
    async fn take<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut PacketReader<R>,
        packet: Vec<u8>,
        number: u32,
    ) -> io::Result<bool> {
        let malformed = |Malformed| bad("a malformed packet");
        let packet = Bytes::from(packet);
        let Some(kind) = packet.first().copied() else {
            return Err(bad("an empty packet"));
        };
        let body = &packet[1..];
        match kind {
            DISCONNECT => return Ok(false),
            IGNORE | UNIMPLEMENTED | DEBUG => {}
            KEXINIT => self.renew_keys(reader, &packet).await?,
            GLOBAL_REQUEST => {
                let mut fields = Reader::new(body);
                fields.string().map_err(malformed)?;
                if fields.boolean().map_err(malformed)? {
                    self.outbox.send(vec![REQUEST_FAILURE]).await;
                }
            }
            CHANNEL_OPEN => self.open(body).await.map_err(malformed)?,
            WINDOW_ADJUST => {
                let mut fields = Reader::new(body);
                let id = fields.u32().map_err(malformed)?;
                let more = fields.u32().map_err(malformed)?;
                if let Some(channel) = self.channels().get(&id) {
                    channel.peer.window.add(more);
                }
            }
            DATA => {
                let mut fields = Reader::new(body);
                let id = fields.u32().map_err(malformed)?;
                let length = fields.string().map_err(malformed)?.len();
                // Number, channel and length stand before the data.
                let data = packet.slice(9..9 + length);
                if let Some(channel) = self.channels().get(&id) {
                    if !channel.received.spend(length) {
                        return Err(bad("more data than was allowed"));
                    }
                    channel.give(Input::Data(data));
                }
            }
            // No program here reads a second stream.
            EXTENDED_DATA => {}
            EOF => {
                let id = Reader::new(body).u32().map_err(malformed)?;
                if let Some(channel) = self.channels().get(&id) {
                    channel.give(Input::End);
                }
            }
            CLOSE => {
                let id = Reader::new(body).u32().map_err(malformed)?;
                let closed = self.channels().remove(&id);
                // A running channel sees its input end, and answers itself.
                if let Some(channel) = closed
                    && !channel.is_running()
                {
                    self.outbox.send(channel.peer.close()).await;
                }
            }
            REQUEST => self.request(body).await.map_err(malformed)?,
            _ => {
                let answer = Writer::message(UNIMPLEMENTED).u32(number);
                self.outbox.send(answer.done()).await;
            }
        }
        Ok(true)
    }

    /// The client asks for new keys, as it does after each gigabyte.
    async fn renew_keys<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut PacketReader<R>,
        theirs: &[u8],
    ) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let connected = &self.connected;
        let choice = exchange::choose(theirs)?;
        let ours = exchange::proposal()?;
        let begin = Exchange::Begin(ours.clone());
        self.exchanges.send(begin).await.map_err(gone)?;
        if choice.skip_next {
            next(reader, false).await?;
        }
        let packet = next(reader, false).await?;
        let exchanged = exchange::answer(
            &connected.versions,
            &connected.config.host_key,
            (theirs, &ours),
            &choice,
            &packet,
            Some(connected.session),
        )?;
        let end = Exchange::End {
            reply: exchanged.reply,
            key: exchanged.outgoing,
        };
        self.exchanges.send(end).await.map_err(gone)?;
        if next(reader, false).await? != [NEWKEYS] {
            return Err(bad("another packet amid a key exchange"));
        }
        reader.renew(&exchanged.incoming, connected.strict);
        Ok(())
    }

    async fn open(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut fields = Reader::new(body);
        let kind = fields.text()?;
        let (theirs, window, packet_max) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let refusal = match kind {
            _ if self.channels().len() >= CHANNELS_MAX => {
                Some((RESOURCE_SHORTAGE, "too many channels"))
            }
            "session" | "direct-tcpip" => None,
            _ => Some((UNKNOWN_TYPE, "not served here")),
        };
        if let Some((code, text)) = refusal {
            let answer = Writer::message(OPEN_FAILURE)
                .u32(theirs)
                .u32(code)
                .string(text)
                .string("");
            self.outbox.send(answer.done()).await;
            return Ok(());
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let peer = Peer::new(id, theirs, window, packet_max, self.outbox.clone());
        let mut channel = Channel::new(peer.clone());
        if kind == "session" {
            self.channels().insert(id, channel);
            peer.confirm().await;
            return Ok(());
        }
        let (host, port) = (fields.text()?.to_owned(), fields.u32()?);
        let inputs = channel.start();
        let received = Arc::clone(&channel.received);
        self.channels().insert(id, channel);
        let (guest, signed_in) = self.parties();
        let channels = Arc::clone(&self.channels);
        self.tasks
            .spawn_guarded("ssh.forward", move |stop| async move {
                let forward = tcp::Forward { host, port };
                let work = forward.run(&*guest, &signed_in, &peer, inputs, &received);
                tokio::select! {
                    opened = work => if !opened {
                        lock(&channels).remove(&id);
                    },
                    () = stop.cancelled() => {}
                }
            })
            .await;
        Ok(())
    }

    async fn request(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut fields = Reader::new(body);
        let id = fields.u32()?;
        let (name, wants_reply) = (fields.text()?, fields.boolean()?);
        let (answer, started) = {
            let mut channels = self.channels();
            let Some(channel) = channels.get_mut(&id) else {
                return Ok(());
            };
            let wanted = channel.request(name, &mut fields)?;
            let started = wanted.program.map(|program| {
                let received = Arc::clone(&channel.received);
                (program, channel.peer.clone(), channel.start(), received)
            });
            let answer = wants_reply.then(|| channel.peer.answer(wanted.granted));
            (answer, started)
        };
        if let Some(answer) = answer {
            self.outbox.send(answer).await;
        }
        if let Some((program, peer, inputs, received)) = started {
            let (guest, signed_in) = self.parties();
            self.tasks
                .spawn_guarded("ssh.session", move |stop| async move {
                    let work = session::run(program, &*guest, &signed_in, &peer, inputs, &received);
                    tokio::select! {
                        () = work => {}
                        () = stop.cancelled() => {}
                    }
                })
                .await;
        }
        Ok(())
    }

    fn parties(&self) -> (Arc<dyn Guest>, Arc<SignedIn>) {
        let connected = &self.connected;
        (
            Arc::clone(&connected.guest),
            Arc::clone(&connected.signed_in),
        )
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<u32, Channel>> {
        lock(&self.channels)
    }
}

fn lock(channels: &Channels) -> MutexGuard<'_, HashMap<u32, Channel>> {
    channels.lock().expect("no holder of this lock panics")
}
