//! What monitor and init say to each other, and the socket pair they say it over.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mayfly_guest::{ContainerExit, ContainerState, ExecOutcome, ExecStart};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Reason, While};

/// The longest message. Larger exec requests are refused by the monitor; the kernel's own limit for one is near.
pub(crate) const MESSAGE_MAX: usize = 128 << 10;
/// Standard input, output and error of a session.
const DESCRIPTORS_MAX: usize = 3;

/// What the monitor asks of the init. `id` is the monitor's number of a connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The cgroups are joined: run.
    Go,
    /// Run a command, on the three descriptors that come along or, for a terminal, on a new one.
    Spawn {
        id: u64,
        start: ExecStart,
    },
    SignalSession {
        id: u64,
        signal: i32,
    },
    /// Nobody listens to this session any more.
    KillSession {
        id: u64,
    },
    Signal {
        id: u64,
        signal: i32,
        container: Option<String>,
    },
}

/// What the init tells the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// The program that must run runs.
    Started,
    /// A main process has a new terminal; its master comes along.
    Terminal {
        container: usize,
    },
    /// For the machine's log.
    Say {
        container: Option<usize>,
        message: String,
    },
    /// A process was killed by a signal only the kernel or root of the host sends: perhaps for want of memory.
    Killed {
        pid: u32,
        name: Option<String>,
    },
    /// A session runs; the master of its terminal comes along if it has one.
    Spawned {
        id: u64,
    },
    SessionEnded {
        id: u64,
        outcome: ExecOutcome,
    },
    Answer {
        id: u64,
        refused: Option<String>,
    },
    Containers(Vec<ContainerState>),
    /// The last word: how the containers ended, or why nothing could run.
    Ended {
        failure: Option<String>,
        containers: Vec<ContainerExit>,
    },
}

/// One end. Sending never blocks: what does not fit in the socket waits here.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

/// What [`Channel::receive`] found.
pub(crate) enum Received<T> {
    Message(T, Vec<OwnedFd>),
    Nothing,
    /// The other process is gone.
    Closed,
}

impl Channel {
    pub(crate) fn pair() -> Result<(Channel, Channel), Failure> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .when("make the channel to the init")?;
        let end = |socket| Channel {
            socket,
            waiting: VecDeque::new(),
        };
        Ok((end(one), end(other)))
    }

    pub(crate) fn send(&mut self, message: &impl Serialize, descriptors: Vec<OwnedFd>) {
        let bytes = serde_json::to_vec(message).expect("messages have string keys only");
        self.waiting.push_back((bytes, descriptors));
        self.flush();
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what fits. A closed channel swallows the rest; the reading side notices.
    pub(crate) fn flush(&mut self) {
        while let Some((bytes, descriptors)) = self.waiting.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !borrowed.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(&borrowed));
            }
            let flags = SendFlags::NOSIGNAL;
            match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags) {
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => self.waiting.pop_front(),
            };
        }
    }

    pub(crate) fn receive<T: DeserializeOwned>(&self) -> Result<Received<T>, Failure> {
        let peek = RecvFlags::PEEK | RecvFlags::TRUNC;
        let length = match self.receive_into(&mut [], peek) {
            Ok((0, _)) => return Ok(Received::Closed),
            Ok((length, _)) => length,
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(Failure(format!("receive: {}", error.reason()))),
        };
        let mut bytes = vec![0; length];
        let (_, descriptors) = self
            .receive_into(&mut bytes, RecvFlags::CMSG_CLOEXEC)
            .when("receive")?;
        let message = serde_json::from_slice(&bytes).when("decode message")?;
        Ok(Received::Message(message, descriptors))
    }

    fn receive_into(
        &self,
        bytes: &mut [u8],
        flags: RecvFlags,
    ) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = if flags.contains(RecvFlags::PEEK) {
            RecvAncillaryBuffer::default()
        } else {
            RecvAncillaryBuffer::new(&mut space)
        };
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(bytes)],
                &mut control,
                flags,
            )
        })?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Ok((received.bytes, descriptors))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_with_their_descriptors() {
        let (mut one, other) = Channel::pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert!(matches!(
            other.receive::<Order>().unwrap(),
            Received::Nothing
        ));
        one.send(&Order::Go, vec![]);
        one.send(&Order::KillSession { id: 7 }, vec![write]);
        let Received::Message(Order::Go, none) = other.receive().unwrap() else {
            panic!("first message");
        };
        assert!(none.is_empty());
        let Received::Message(Order::KillSession { id: 7 }, descriptors) = other.receive().unwrap()
        else {
            panic!("second message");
        };
        rustix::io::write(&descriptors[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0; 2]).unwrap(), 1);
        drop(one);
        assert!(matches!(
            other.receive::<Order>().unwrap(),
            Received::Closed
        ));
    }

    #[test]
    fn what_does_not_fit_waits() {
        let (mut one, other) = Channel::pair().unwrap();
        let message = "x".repeat(100_000);
        for _ in 0..20 {
            one.send(
                &Notice::Say {
                    container: None,
                    message: message.clone(),
                },
                vec![],
            );
        }
        assert!(one.wants_to_write());
        let mut received = 0;
        while received < 20 {
            match other.receive::<Notice>().unwrap() {
                Received::Message(Notice::Say { message, .. }, _) => {
                    assert_eq!(message.len(), 100_000);
                    received += 1;
                }
                _ => one.flush(),
            }
        }
        assert!(!one.wants_to_write());
    }
}
