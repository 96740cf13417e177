//! Questions by UDP: many per system call, and on every core.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mayfly_runtime::{Stop, TaskSet};
use mayfly_sys::{Arrivals, Departures};
use mayfly_types::NetworkId;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Desk, Shape};
use crate::listener::{Answers, DRAIN, Outcome};
use crate::message::HEADER;
use crate::zone::Names;

/// Questions taken at once, and the longest of them: none of ours is longer, and none with a cookie or padding.
const BATCH: usize = 64;
const QUESTION_MAX: usize = 2048;
/// Answers one socket remembers; at most, when everybody asks something else, as many again must be made.
const REMEMBERED_MAX: usize = 8192;
/// An address record that points at its question's name: 12 bytes, then the address.
const RECORD: usize = 28;
const RECORD_HEAD: usize = 12;

/// A socket that shares its port with those of the other cores.
pub(super) fn bind_shared(address: SocketAddrV6) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(AddressFamily::INET6, SocketType::DGRAM, flags, None)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    UdpSocket::from_std(socket.into())
}

pub(super) async fn serve(desk: Arc<Desk>, socket: UdpSocket, stop: Stop) {
    let (socket, forwards) = (Arc::new(socket), TaskSet::new());
    let mut arrivals = Arrivals::new(BATCH, QUESTION_MAX);
    let mut departures = Departures::default();
    let mut memory = Memory::new(&desk);
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = socket.async_io(Interest::READABLE, || arrivals.receive(&*socket)) => received,
        };
        // Errors of a datagram socket are about datagrams sent earlier.
        if received.is_err() {
            continue;
        }
        memory.refresh(&desk);
        let mut elsewhere = Vec::new();
        for (question, asker) in arrivals.iter() {
            if memory.answer(question, asker, &mut departures) {
                continue;
            }
            let known = desk.asker(IpAddr::V6(*asker.ip()));
            let (outcome, shape) = desk.answer(question, known.as_ref(), false);
            match outcome {
                Outcome::Answer(message) => {
                    departures.push(asker, |out| out.extend(&message));
                    memory.keep(question, asker, message, shape);
                }
                Outcome::Ignore => {}
                Outcome::Forward => elsewhere.push((question.to_vec(), asker)),
            }
        }
        departures.send(&*socket);
        for (question, asker) in elsewhere {
            let (desk, socket) = (Arc::clone(&desk), Arc::clone(&socket));
            forwards
                .spawn_guarded("names.forward", move |_| async move {
                    if let Some(message) = desk.forward(&question, false).await {
                        // An asker that cannot be reached asks again.
                        let _ = socket.send_to(&message, asker).await;
                    }
                })
                .await;
        }
    }
    forwards.shut_down(DRAIN).await;
}

/// Answers as they were sent, by the network that asked and the question to the letter, for as long as names stay.
struct Memory {
    names: Arc<Names>,
    answers: HashMap<NetworkId, HashMap<Vec<u8>, Remembered>>,
    count: usize,
    /// Shuffles: fair enough, and no look at the source of randomness per answer.
    state: u64,
}

struct Remembered {
    message: Vec<u8>,
    /// Where its address records begin, if their order shall be another each time.
    shuffled_at: Option<usize>,
}

impl Memory {
    fn new(desk: &Desk) -> Memory {
        Memory {
            names: Arc::clone(&desk.names.borrow()),
            answers: HashMap::new(),
            count: 0,
            state: desk.seed(),
        }
    }

    /// Forgets everything if a name may have changed.
    fn refresh(&mut self, desk: &Desk) {
        let names = desk.names.borrow();
        if !Arc::ptr_eq(&names, &self.names) {
            self.names = Arc::clone(&names);
            self.answers.clear();
            self.count = 0;
        }
    }

    /// Answers a question that was asked before; false if it was not.
    fn answer(&mut self, question: &[u8], asker: SocketAddrV6, out: &mut Departures) -> bool {
        let Some((id, rest)) = question.split_first_chunk::<2>() else {
            return false;
        };
        let known = self
            .names
            .network_at(*asker.ip())
            .and_then(|network| self.answers.get(&network))
            .and_then(|answers| answers.get(rest));
        let Some(known) = known else {
            return false;
        };
        let state = &mut self.state;
        out.push(asker, |out| {
            let start = out.len();
            out.extend(&known.message);
            let message = &mut out[start..];
            message[..2].copy_from_slice(id);
            if let Some(at) = known.shuffled_at {
                let count = usize::from(u16::from_be_bytes([message[6], message[7]]));
                shuffle(&mut message[at..at + count * RECORD], state);
            }
        });
        true
    }

    fn keep(&mut self, question: &[u8], asker: SocketAddrV6, message: Vec<u8>, shape: Shape) {
        let shuffled_at = match shape {
            Shape::Once => return,
            Shape::Fixed => None,
            Shape::Shuffled { question } => Some(HEADER + question),
        };
        let Some(network) = self.names.network_at(*asker.ip()) else {
            return;
        };
        if self.count >= REMEMBERED_MAX {
            self.answers.clear();
            self.count = 0;
        }
        let remembered = Remembered {
            message,
            shuffled_at,
        };
        let answers = self.answers.entry(network).or_default();
        answers.insert(question[2..].to_vec(), remembered);
        self.count += 1;
    }
}

/// Puts the addresses of records in another order: many clients take the first only.
fn shuffle(records: &mut [u8], state: &mut u64) {
    let count = records.len() / RECORD;
    for left in (1..count).rev() {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        let other = usize::try_from(*state % (left as u64 + 1)).unwrap_or(0);
        let (one, two) = (left * RECORD + RECORD_HEAD, other * RECORD + RECORD_HEAD);
        for byte in 0..RECORD - RECORD_HEAD {
            records.swap(one + byte, two + byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_moves_addresses_and_nothing_else() {
        let record = |number: u8| {
            let mut record = vec![0xee; RECORD_HEAD];
            record.extend([number; 16]);
            record
        };
        let before: Vec<u8> = (0..5).flat_map(record).collect();
        let (mut state, mut firsts) = (7, [0; 5]);
        for _ in 0..1000 {
            let mut records = before.clone();
            shuffle(&mut records, &mut state);
            let mut seen: Vec<u8> = records
                .chunks(RECORD)
                .map(|record| {
                    assert!(record[..RECORD_HEAD].iter().all(|byte| *byte == 0xee));
                    assert!(
                        record[RECORD_HEAD..]
                            .iter()
                            .all(|byte| *byte == record[RECORD_HEAD])
                    );
                    record[RECORD_HEAD]
                })
                .collect();
            firsts[usize::from(seen[0])] += 1;
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4]);
        }
        assert!(firsts.iter().all(|count| *count > 150), "{firsts:?}");
    }
}
