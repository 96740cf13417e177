//! As much of netlink as routes, links and set elements need: build messages, send several at once, collect answers.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send,
    socket_with,
};

pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const REPLACE: u16 = 0x100;
pub(crate) const EXCL: u16 = 0x200;
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const DUMP: u16 = 0x300;

const HEADER: usize = 16;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
const NESTED: u16 = 0x8000;
/// The kernel cuts dumps into datagrams of at most this size for a reader that offers as much.
const RECEIVE_BYTES: usize = 32 * 1024;

/// A hundred thousand elements of sets at once.
const BATCH_BYTES: usize = 16 << 20;

/// One request under construction.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// `fixed` is the family's own header that follows netlink's.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Message {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Message(bytes)
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        self.push(kind, value);
        self
    }

    pub(crate) fn text(self, kind: u16, value: &str) -> Message {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    pub(crate) fn nested(mut self, kind: u16, fill: impl FnOnce(Message) -> Message) -> Message {
        let start = self.0.len();
        self.0.extend([0; 4]);
        let mut filled = fill(self);
        let length = u16::try_from(filled.0.len() - start).expect("requests stay small");
        filled.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled.0[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        filled
    }

    /// Bytes that belong to the attribute being filled, in front of its own attributes.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Message {
        self.0.extend(bytes);
        self
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).expect("attributes are small");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn wants_ack(&self) -> bool {
        u16::from_ne_bytes([self.0[6], self.0[7]]) & ACK != 0
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("requests stay small");
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// A socket of the namespace it was opened in, also when it is used from elsewhere.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(crate) fn route() -> io::Result<Socket> {
        Socket::open(None)
    }

    pub(crate) fn netfilter() -> io::Result<Socket> {
        Socket::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Socket> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        if protocol.is_some() {
            // A batch travels as one datagram, and all acknowledgements of it wait in the other direction.
            sockopt::set_socket_send_buffer_size_force(&socket, BATCH_BYTES)?;
            sockopt::set_socket_recv_buffer_size_force(&socket, BATCH_BYTES)?;
        }
        Ok(Socket {
            socket,
            sequence: 0,
        })
    }

    /// Sends all messages in one datagram; the kernel works through them in order. The answers of those that asked for
    /// one, in order. A message that fails does not keep the later ones from being tried.
    pub(crate) fn send_all(&mut self, messages: Vec<Message>) -> io::Result<Vec<io::Result<()>>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        let mut expected = Vec::new();
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            if message.wants_ack() {
                expected.push(self.sequence);
            }
            datagram.extend(message.finish(self.sequence));
        }
        send(&self.socket, &datagram, SendFlags::empty())?;
        let mut answers: Vec<Option<io::Result<()>>> = expected.iter().map(|_| None).collect();
        let mut open = answers.len();
        while open > 0 {
            self.receive(|kind, sequence, body| {
                if kind != TYPE_ERROR {
                    return;
                }
                let answer = error_of(body);
                match expected.iter().position(|wanted| *wanted == sequence) {
                    Some(index) if answers[index].is_none() => {
                        answers[index] = Some(answer);
                        open -= 1;
                    }
                    Some(_) => {}
                    // A batch refused as a whole is answered at its first message, which asked for nothing.
                    None if sequence == first && answer.is_err() => {
                        let error = answer.expect_err("just checked");
                        for slot in answers.iter_mut().filter(|slot| slot.is_none()) {
                            *slot = Some(Err(copy_of(&error)));
                        }
                        open = 0;
                    }
                    None => {}
                }
            })?;
        }
        let done = answers.into_iter().flatten().collect();
        Ok(done)
    }

    /// Sends one message and waits for its answer.
    pub(crate) fn send_one(&mut self, message: Message) -> io::Result<()> {
        self.send_all(vec![message])?.into_iter().collect()
    }

    /// Sends messages that must all succeed; the first failure is returned.
    pub(crate) fn apply(&mut self, messages: Vec<Message>) -> io::Result<()> {
        self.send_all(messages)?.into_iter().collect()
    }

    /// Sends a query and hands every message of the answer (type, bytes behind the netlink header) to `each`.
    pub(crate) fn query(
        &mut self,
        message: Message,
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let many = u16::from_ne_bytes([message.0[6], message.0[7]]) & DUMP != 0;
        self.sequence = self.sequence.wrapping_add(1);
        let wanted = self.sequence;
        send(&self.socket, &message.finish(wanted), SendFlags::empty())?;
        let mut result = None;
        while result.is_none() {
            self.receive(|kind, sequence, body| match kind {
                _ if sequence != wanted => {}
                TYPE_ERROR => result = Some(error_of(body)),
                TYPE_DONE => result = Some(Ok(())),
                _ => {
                    each(kind, body);
                    if !many {
                        result = Some(Ok(()));
                    }
                }
            })?;
        }
        result.unwrap_or(Ok(()))
    }

    fn receive(&self, mut each: impl FnMut(u16, u32, &[u8])) -> io::Result<()> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        let (length, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let length = number(rest, 0) as usize;
            if length < HEADER || length > rest.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let kind = u16::from_ne_bytes([rest[4], rest[5]]);
            each(kind, number(rest, 8), &rest[HEADER..length]);
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(())
    }
}

/// The attributes in `bytes`: type without flags, and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        Some((kind, value))
    })
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    u32::from_ne_bytes(four)
}

fn error_of(body: &[u8]) -> io::Result<()> {
    let code = if body.len() >= 4 {
        number(body, 0) as i32
    } else {
        0
    };
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

fn copy_of(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
