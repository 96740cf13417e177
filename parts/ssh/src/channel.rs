//! One channel: what it was asked for, and its way to the client.

pub(crate) mod session;
pub(crate) mod tcp;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mayfly_host_api::Terminal;
use mayfly_machine::Signal;
use tokio::sync::mpsc;

use crate::guest::{LOGIN_SHELL, SFTP_PROGRAM, command_line};
use crate::signals;
use crate::window::{ReceiveWindow, SendWindow};
use crate::wire::{Malformed, Reader, Writer};

const OPEN_CONFIRMATION: u8 = 91;
const OPEN_FAILURE: u8 = 92;
const WINDOW_ADJUST: u8 = 93;
const DATA: u8 = 94;
const EXTENDED_DATA: u8 = 95;
const EOF: u8 = 96;
const CLOSE: u8 = 97;
const REQUEST: u8 = 98;
const SUCCESS: u8 = 99;
const FAILURE: u8 = 100;

const CONNECT_FAILED: u32 = 2;
const STDERR: u32 = 1;

/// Bytes of data in one packet, at most.
const PACKET_DATA: u32 = 32 << 10;
/// Variables a client may set, and their length together.
const VARIABLES_MAX: usize = 128;
const VARIABLE_BYTES_MAX: usize = 32 << 10;

/// The variables by which upstream's client says where in a machine a session goes.
const CONTAINER: &str = "FLY_SSH_CONTAINER";
const MACHINE: &str = "FLY_SSH_MACHINE";

/// Packets on their way to the client.
#[derive(Clone)]
pub(crate) struct Outbox(pub(crate) mpsc::Sender<Vec<u8>>);

impl Outbox {
    /// Waits for room. Nothing is sent on a connection that has ended.
    pub(crate) async fn send(&self, packet: Vec<u8>) {
        let _ = self.0.send(packet).await;
    }
}

/// What arrives for a running channel.
pub(crate) enum Input {
    Data(Bytes),
    /// No more data.
    End,
    Resize(Terminal),
    Signal(Signal),
}

/// The client's end of a channel.
#[derive(Clone)]
pub(crate) struct Peer {
    id: u32,
    theirs: u32,
    packet_max: usize,
    pub(crate) window: Arc<SendWindow>,
    outbox: Outbox,
}

/// A channel as the connection keeps it.
pub(crate) struct Channel {
    pub(crate) peer: Peer,
    pub(crate) received: Arc<ReceiveWindow>,
    env: BTreeMap<String, String>,
    container: Option<String>,
    tty: Option<Terminal>,
    /// What came is limited by the window, so the queue needs no limit of its own.
    running: Option<mpsc::UnboundedSender<Input>>,
}

/// What to run on a channel.
pub(crate) struct Program {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) container: Option<String>,
    pub(crate) tty: Option<Terminal>,
    pub(crate) what: &'static str,
}

/// The answer to a request.
pub(crate) struct Wanted {
    pub(crate) granted: bool,
    pub(crate) program: Option<Program>,
}

impl Channel {
    pub(crate) fn new(peer: Peer) -> Self {
        Channel {
            peer,
            received: Arc::new(ReceiveWindow::new()),
            env: BTreeMap::new(),
            container: None,
            tty: None,
            running: None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// From now on input is given to whoever holds the receiver.
    pub(crate) fn start(&mut self) -> mpsc::UnboundedReceiver<Input> {
        let (running, inputs) = mpsc::unbounded_channel();
        self.running = Some(running);
        inputs
    }

    pub(crate) fn give(&self, input: Input) {
        if let Some(running) = &self.running {
            // A channel that has ended takes nothing more.
            let _ = running.send(input);
        }
    }

    /// A request of RFC 4254, section 6, with its fields.
    pub(crate) fn request(
        &mut self,
        name: &str,
        fields: &mut Reader<'_>,
    ) -> Result<Wanted, Malformed> {
        let granted = |granted| {
            Ok(Wanted {
                granted,
                program: None,
            })
        };
        match name {
            "env" => {
                let (name, value) = (fields.text()?, fields.text()?);
                granted(self.set(name, value))
            }
            "pty-req" => {
                let term = fields.text()?.to_owned();
                self.tty = Some(window(fields)?);
                granted(self.set("TERM", &term))
            }
            "window-change" => {
                self.give(Input::Resize(window(fields)?));
                granted(true)
            }
            "signal" => {
                let signal = signals::named(fields.text()?);
                let known = signal.is_some();
                signal
                    .into_iter()
                    .for_each(|signal| self.give(Input::Signal(signal)));
                granted(known)
            }
            _ if self.is_running() => granted(false),
            "shell" => Ok(self.program(LOGIN_SHELL.map(str::to_owned).to_vec(), "shell")),
            "exec" => {
                let line = fields.text()?;
                Ok(self.program(command_line(line), "exec"))
            }
            "subsystem" if fields.text()? == "sftp" => {
                Ok(self.program(vec![SFTP_PROGRAM.to_owned()], "sftp"))
            }
            _ => granted(false),
        }
    }

    fn program(&mut self, argv: Vec<String>, what: &'static str) -> Wanted {
        let program = Program {
            argv,
            env: std::mem::take(&mut self.env),
            container: self.container.take(),
            tty: self.tty,
            what,
        };
        Wanted {
            granted: true,
            program: Some(program),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> bool {
        match name {
            CONTAINER => self.container = Some(value.to_owned()).filter(|name| !name.is_empty()),
            MACHINE => {}
            _ => {
                let bad = |text: &str| text.contains('\0');
                let bytes = |(name, value): (&String, &String)| name.len() + value.len();
                let total: usize = self.env.iter().map(bytes).sum();
                if name.is_empty()
                    || name.contains('=')
                    || bad(name)
                    || bad(value)
                    || self.env.len() >= VARIABLES_MAX
                    || total + name.len() + value.len() > VARIABLE_BYTES_MAX
                {
                    return false;
                }
                self.env.insert(name.to_owned(), value.to_owned());
            }
        }
        true
    }
}

fn window(fields: &mut Reader<'_>) -> Result<Terminal, Malformed> {
    let cells = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let columns = cells(fields.u32()?);
    let rows = cells(fields.u32()?);
    Ok(Terminal { rows, columns })
}

impl Peer {
    pub(crate) fn new(id: u32, theirs: u32, window: u32, packet_max: u32, outbox: Outbox) -> Self {
        let packet_max = packet_max.clamp(1, PACKET_DATA);
        Peer {
            id,
            theirs,
            packet_max: usize::try_from(packet_max).expect("32 bits fit"),
            window: Arc::new(SendWindow::new(window)),
            outbox,
        }
    }

    pub(crate) async fn confirm(&self) {
        let packet = Writer::message(OPEN_CONFIRMATION)
            .u32(self.theirs)
            .u32(self.id)
            .u32(ReceiveWindow::SIZE)
            .u32(PACKET_DATA);
        self.outbox.send(packet.done()).await;
    }

    pub(crate) async fn refuse(&self, reason: &str) {
        let packet = Writer::message(OPEN_FAILURE)
            .u32(self.theirs)
            .u32(CONNECT_FAILED)
            .string(reason)
            .string("");
        self.outbox.send(packet.done()).await;
    }

    pub(crate) fn answer(&self, granted: bool) -> Vec<u8> {
        let kind = if granted { SUCCESS } else { FAILURE };
        Writer::message(kind).u32(self.theirs).done()
    }

    /// Sends all of `data` as the client takes it.
    pub(crate) async fn data(&self, data: &[u8]) {
        self.send_data(data, || Writer::message(DATA).u32(self.theirs))
            .await;
    }

    pub(crate) async fn stderr(&self, data: &[u8]) {
        let head = || Writer::message(EXTENDED_DATA).u32(self.theirs).u32(STDERR);
        self.send_data(data, head).await;
    }

    async fn send_data(&self, mut data: &[u8], head: impl Fn() -> Writer) {
        while !data.is_empty() {
            let length = self.window.take(data.len().min(self.packet_max)).await;
            let (piece, rest) = data.split_at(length);
            self.outbox.send(head().string(piece).done()).await;
            data = rest;
        }
    }

    pub(crate) async fn exit_code(&self, code: i32) {
        let packet = self.notice("exit-status").u32(code.cast_unsigned());
        self.outbox.send(packet.done()).await;
    }

    pub(crate) async fn exit_signal(&self, number: i32) {
        let packet = self
            .notice("exit-signal")
            .string(signals::name_of(number))
            .boolean(false)
            .string("")
            .string("");
        self.outbox.send(packet.done()).await;
    }

    fn notice(&self, name: &str) -> Writer {
        Writer::message(REQUEST)
            .u32(self.theirs)
            .string(name)
            .boolean(false)
    }

    pub(crate) async fn eof(&self) {
        let packet = Writer::message(EOF).u32(self.theirs).done();
        self.outbox.send(packet).await;
    }

    pub(crate) fn close(&self) -> Vec<u8> {
        Writer::message(CLOSE).u32(self.theirs).done()
    }

    pub(crate) async fn send_close(&self) {
        self.outbox.send(self.close()).await;
    }
}

/// Counts what was taken from a channel's input and tells the client when it may send more.
pub(crate) struct Taken<'a> {
    peer: &'a Peer,
    received: &'a ReceiveWindow,
    bytes: u32,
}

impl<'a> Taken<'a> {
    pub(crate) fn of(peer: &'a Peer, received: &'a ReceiveWindow) -> Self {
        Taken {
            peer,
            received,
            bytes: 0,
        }
    }

    pub(crate) async fn add(&mut self, bytes: usize) {
        self.bytes += u32::try_from(bytes).expect("data comes in packets");
        if self.bytes < ReceiveWindow::STEP {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.received.widen(bytes);
        let packet = Writer::message(WINDOW_ADJUST)
            .u32(self.peer.theirs)
            .u32(bytes);
        self.peer.outbox.send(packet.done()).await;
    }
}
