use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send,
    socket_with,
};

use crate::message::{DUMP, Message};

const HEADER: usize = 16;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
/// The kernel cuts dumps into datagrams of at most this size for a reader that offers as much.
const RECEIVE_BYTES: usize = 32 * 1024;

/// A hundred thousand elements of sets at once.
const BATCH_BYTES: usize = 16 << 20;

/// A socket of the namespace it was opened in, also when it is used from elsewhere.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub fn route() -> io::Result<Socket> {
        Socket::open(None)
    }

    pub fn netfilter() -> io::Result<Socket> {
        Socket::open(Some(netlink::NETFILTER))
    }

    pub fn generic() -> io::Result<Socket> {
        Socket::open(Some(netlink::GENERIC))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Socket> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        if protocol == Some(netlink::NETFILTER) {
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
    pub fn send_all(&mut self, messages: Vec<Message>) -> io::Result<Vec<io::Result<()>>> {
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
    pub fn send_one(&mut self, message: Message) -> io::Result<()> {
        self.send_all(vec![message])?.into_iter().collect()
    }

    /// Sends messages that must all succeed; the first failure is returned.
    pub fn apply(&mut self, messages: Vec<Message>) -> io::Result<()> {
        self.send_all(messages)?.into_iter().collect()
    }

    /// Sends a query and hands every message of the answer (type, bytes behind the netlink header) to `each`.
    pub fn query(&mut self, message: Message, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let many = message.flags() & DUMP != 0;
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
