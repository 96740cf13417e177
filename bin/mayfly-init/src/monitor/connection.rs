//! One connection on the control socket: frames in, frames out, and the streams of a session between them.
//!
//! Nothing here blocks and every buffer has a limit. A peer that does not read stops only its own session: its output
//! stays in the pipe, and the program waits as at any full pipe.

use std::os::fd::{AsFd, OwnedFd};

use mayfly_guest::{ExecOutcome, FRAME_MAX, Frame, Reply, Request, Window};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::Serialize;

use crate::failure::{Failure, While};

/// What waits for the peer; no more is read from the program then.
const OUTBOX_BYTES: usize = 64 << 10;
/// What waits for the program; no more is read from the peer then.
const STDIN_BYTES: usize = 64 << 10;
const CHUNK_BYTES: usize = 16 << 10;
/// What is still read after the session's process has ended: more than a pipe holds, so all of its own output. Children
/// it left behind may go on writing for ever.
const AFTER_END_BYTES: usize = 1 << 20;
/// An attached peer that is further behind misses output.
const ATTACHED_BYTES: usize = 256 << 10;

/// End of file, as a terminal is told.
const END_OF_TRANSMISSION: u8 = 4;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) socket: OwnedFd,
    inbox: Vec<u8>,
    /// What is left of a frame of input that is passed on as it comes.
    stdin_left: usize,
    outbox: Vec<u8>,
    pub(crate) kind: Kind,
    /// The peer is gone.
    pub(crate) closed: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Has sent no request yet.
    New,
    /// Waits for the init's answer.
    Asked,
    Session(Session),
    /// Has been answered. It is the peer who hangs up, lest it be told so while it is still sending.
    Done,
}

/// The streams of an exec or of somebody attached.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Where input goes: a pipe, or the terminal.
    pub(crate) stdin: Option<OwnedFd>,
    /// Where output comes from.
    pub(crate) outputs: Vec<(OwnedFd, Frame)>,
    pub(crate) terminal: bool,
    /// The container whose terminal is shown; for an exec `None`.
    pub(crate) attached: Option<usize>,
    pub(crate) outcome: Option<ExecOutcome>,
    pub(super) waiting: Vec<u8>,
    pub(super) ended: bool,
    pub(super) after_end: usize,
}

/// What the monitor has to do for a connection.
#[derive(Debug)]
pub(crate) enum Demand {
    Request(Request),
    Resize(Window),
    Signal(i32),
    /// The peer is gone or does not keep to the protocol.
    Close,
}

impl Connection {
    pub(crate) fn new(id: u64, socket: OwnedFd) -> Self {
        Connection {
            id,
            socket,
            inbox: Vec::new(),
            stdin_left: 0,
            outbox: Vec::new(),
            kind: Kind::New,
            closed: false,
        }
    }

    fn wants_input(&self) -> bool {
        match &self.kind {
            Kind::Session(session) => session.waiting.len() < STDIN_BYTES,
            Kind::New | Kind::Asked | Kind::Done => true,
        }
    }

    pub(crate) fn socket_interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        if self.wants_input() {
            interest |= PollFlags::IN;
        }
        if !self.outbox.is_empty() {
            interest |= PollFlags::OUT;
        }
        interest
    }

    /// The session's descriptors that something may be done with.
    pub(crate) fn stream_interests(&self) -> Vec<(&OwnedFd, PollFlags)> {
        let Kind::Session(session) = &self.kind else {
            return Vec::new();
        };
        let mut interests = Vec::new();
        if self.outbox.len() < OUTBOX_BYTES {
            interests.extend(session.outputs.iter().map(|(fd, _)| (fd, PollFlags::IN)));
        }
        if let Some(stdin) = &session.stdin
            && !session.waiting.is_empty()
        {
            interests.push((stdin, PollFlags::OUT));
        }
        interests
    }

    /// Answers a request that is not a session.
    pub(crate) fn answer(&mut self, reply: &Reply) {
        self.push_json(Frame::Reply, reply);
        self.kind = Kind::Done;
    }

    fn push(&mut self, frame: Frame, payload: &[u8]) {
        self.outbox.extend_from_slice(&frame.header(payload.len()));
        self.outbox.extend_from_slice(payload);
    }

    fn push_json(&mut self, frame: Frame, message: &impl Serialize) {
        let json = serde_json::to_vec(message).expect("replies have string keys only");
        self.push(frame, &json);
    }

    /// Shows an attached peer what the terminal shows.
    pub(crate) fn show(&mut self, bytes: &[u8]) {
        if self.outbox.len() + bytes.len() <= ATTACHED_BYTES {
            self.push(Frame::Stdout, bytes);
        }
    }

    /// Moves what can be moved and returns what the monitor must do, in order. After a request has been met there may be
    /// more to move at once.
    pub(crate) fn turn(&mut self, readiness: PollFlags) -> Vec<Demand> {
        let mut demands = Vec::new();
        let gone = readiness.intersects(PollFlags::HUP | PollFlags::ERR);
        if readiness.contains(PollFlags::IN) && self.wants_input() {
            if let Err(Closed) = self.read_socket() {
                demands.push(Demand::Close);
            }
        } else if gone {
            demands.push(Demand::Close);
        }
        self.parse(&mut demands);
        self.feed_program();
        self.read_program();
        if self.write_socket().is_err() {
            demands.push(Demand::Close);
        }
        demands
    }

    /// Whether everything is said and taken.
    pub(crate) fn has_said_all(&self) -> bool {
        matches!(self.kind, Kind::Done) && self.outbox.is_empty()
    }

    fn read_socket(&mut self) -> Result<(), Closed> {
        let mut chunk = [0; CHUNK_BYTES];
        match rustix::io::read(&self.socket, &mut chunk) {
            Ok(0) => Err(Closed),
            Ok(length) => {
                self.inbox.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(_) => Err(Closed),
        }
    }

    fn parse(&mut self, demands: &mut Vec<Demand>) {
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        loop {
            if self.stdin_left > 0 {
                let (now, later) = rest.split_at(rest.len().min(self.stdin_left));
                self.stdin_left -= now.len();
                if let Kind::Session(session) = &mut self.kind {
                    session.waiting.extend_from_slice(now);
                }
                rest = later;
                if self.stdin_left > 0 {
                    break;
                }
            }
            let Some((header, body)) = rest.split_first_chunk::<5>() else {
                break;
            };
            let Some((frame, length)) = Frame::parse_header(*header) else {
                demands.push(Demand::Close);
                return;
            };
            if frame == Frame::Stdin {
                if matches!(self.kind, Kind::New | Kind::Asked) {
                    demands.push(Demand::Close);
                    return;
                }
                self.stdin_left = length;
                rest = body;
                continue;
            }
            if body.len() < length {
                break;
            }
            let (payload, later) = body.split_at(length);
            rest = later;
            let demand = self.accept(frame, payload);
            let request = matches!(demand, Some(Demand::Request(_)));
            demands.extend(demand);
            if request {
                // What follows is for the session it opens.
                break;
            }
        }
        self.inbox = rest.to_vec();
        debug_assert!(self.inbox.len() <= FRAME_MAX + 5 + CHUNK_BYTES);
    }

    fn accept(&mut self, frame: Frame, payload: &[u8]) -> Option<Demand> {
        match (frame, &mut self.kind) {
            (Frame::Request, Kind::New) => match serde_json::from_slice(payload) {
                Ok(request) => Some(Demand::Request(request)),
                Err(error) => {
                    let reason = format!("read request: {error}");
                    self.answer(&Reply::Refused { reason });
                    None
                }
            },
            (Frame::StdinEnd, Kind::Session(session)) => {
                session.ended = true;
                None
            }
            (Frame::Resize, Kind::Session(_)) => {
                serde_json::from_slice(payload).ok().map(Demand::Resize)
            }
            (Frame::Signal, Kind::Session(_)) => match payload {
                [number] => Some(Demand::Signal(i32::from(*number))),
                _ => Some(Demand::Close),
            },
            // What was under way when it ended.
            (Frame::StdinEnd | Frame::Resize | Frame::Signal, Kind::Done) => None,
            _ => Some(Demand::Close),
        }
    }

    fn feed_program(&mut self) {
        let Kind::Session(session) = &mut self.kind else {
            return;
        };
        let Some(stdin) = &session.stdin else {
            // Nobody reads it, or nobody does yet.
            if session.outcome.is_some() || !session.outputs.is_empty() {
                session.waiting.clear();
            }
            return;
        };
        let mut broken = false;
        while !session.waiting.is_empty() {
            match rustix::io::write(stdin, &session.waiting) {
                Ok(length) => drop(session.waiting.drain(..length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        if broken || session.ended && !session.terminal {
            session.stdin = None;
            session.waiting.clear();
        } else if session.ended {
            session.ended = false;
            session.waiting.push(END_OF_TRANSMISSION);
        }
    }

    fn read_program(&mut self) {
        let Kind::Session(session) = &mut self.kind else {
            return;
        };
        let ended = session.outcome.is_some();
        let mut chunk = [0; CHUNK_BYTES];
        let outbox = &mut self.outbox;
        session.outputs.retain(|(fd, frame)| {
            while outbox.len() < OUTBOX_BYTES {
                match rustix::io::read(fd, &mut chunk) {
                    Ok(length @ 1..) => {
                        outbox.extend_from_slice(&frame.header(length));
                        outbox.extend_from_slice(&chunk[..length]);
                        if ended {
                            session.after_end += length;
                            if session.after_end > AFTER_END_BYTES {
                                return false;
                            }
                        }
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return !ended,
                    // The end, or a terminal nobody has open any more.
                    Ok(_) | Err(_) => return false,
                }
            }
            true
        });
        if session.outputs.is_empty()
            && let Some(outcome) = session.outcome.take()
        {
            self.push_json(Frame::Outcome, &outcome);
            self.kind = Kind::Done;
        }
    }

    fn write_socket(&mut self) -> Result<(), Closed> {
        let mut written = 0;
        let result = loop {
            if written == self.outbox.len() {
                break Ok(());
            }
            match rustix::io::write(&self.socket, &self.outbox[written..]) {
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break Ok(()),
                Err(_) => break Err(Closed),
            }
        };
        self.outbox.drain(..written);
        if self.outbox.is_empty() {
            self.outbox.shrink_to(CHUNK_BYTES);
        }
        if written > 0 && self.has_said_all() {
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        }
        result
    }
}

struct Closed;

/// Our end of a pipe, and the program's.
pub(crate) fn stream_pipe(ours: End) -> Result<(OwnedFd, OwnedFd), Failure> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).when("make a pipe")?;
    let (ours, theirs) = match ours {
        End::Read => (read, write),
        End::Write => (write, read),
    };
    make_nonblocking(&ours)?;
    Ok((ours, theirs))
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Read,
    Write,
}

pub(crate) fn make_nonblocking(fd: impl AsFd) -> Result<(), Failure> {
    let attempt = "set up a stream";
    let flags = fcntl_getfl(&fd).when(attempt)?;
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK).when(attempt)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn frame(frame: Frame, payload: &[u8]) -> Vec<u8> {
        [&frame.header(payload.len())[..], payload].concat()
    }

    /// A request with its session's frames behind it means the same however the bytes arrive.
    #[test]
    fn frames_are_read_whole_however_they_arrive() {
        let request = br#"{"attach":{"window":null}}"#;
        let bytes = [
            frame(Frame::Request, request),
            frame(Frame::Stdin, b"typed "),
            frame(Frame::Stdin, b"text"),
            frame(Frame::Resize, br#"{"rows":5,"columns":6}"#),
            frame(Frame::Signal, &[2]),
            frame(Frame::StdinEnd, b""),
        ]
        .concat();
        for size in 1..=bytes.len() {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let (input, stdin) = rustix::pipe::pipe().unwrap();
            let mut stdin = Some(stdin);
            let mut connection = Connection::new(1, ours.into());
            let mut seen = String::new();
            for chunk in bytes.chunks(size) {
                std::io::Write::write_all(&mut theirs, chunk).unwrap();
                let mut ready = PollFlags::IN;
                loop {
                    let demands = connection.turn(ready);
                    let request = demands.iter().any(|d| matches!(d, Demand::Request(_)));
                    for demand in demands {
                        match demand {
                            Demand::Request(Request::Attach { .. }) => {
                                seen.push('a');
                                connection.kind = Kind::Session(Session {
                                    stdin: stdin.take(),
                                    ..Session::default()
                                });
                            }
                            Demand::Resize(Window {
                                rows: 5,
                                columns: 6,
                            }) => seen.push('r'),
                            Demand::Signal(2) => seen.push('s'),
                            other => panic!("{other:?}"),
                        }
                    }
                    ready = PollFlags::empty();
                    if !request {
                        break;
                    }
                }
            }
            connection.turn(PollFlags::empty());
            let mut typed = String::new();
            std::fs::File::from(input)
                .read_to_string(&mut typed)
                .unwrap();
            assert_eq!(
                (seen.as_str(), typed.as_str()),
                ("ars", "typed text"),
                "by {size}"
            );
        }
    }

    #[test]
    fn a_broken_protocol_closes() {
        for bytes in [
            frame(Frame::Stdin, b"before any request"),
            frame(Frame::Outcome, b"{}"),
            vec![77, 0, 0, 0, 0],
            vec![1, 255, 255, 255, 255],
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let mut connection = Connection::new(1, ours.into());
            std::io::Write::write_all(&mut theirs, &bytes).unwrap();
            let demands = connection.turn(PollFlags::IN);
            assert!(
                matches!(demands[..], [Demand::Close]),
                "{bytes:?}: {demands:?}"
            );
        }
    }
}
