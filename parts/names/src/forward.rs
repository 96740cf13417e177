//! Names that are not ours: asked of the host's own resolvers, and remembered for as long as they allow.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_runtime::Entropy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::message::{HEADER, Query, Record, TYPE_OPT, TYPE_SOA, skip_name};

/// How long one resolver may take before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions under way at once; more are answered with a failure instead of piling up.
const QUESTIONS_MAX: usize = 512;
const CACHE_MAX: usize = 10_000;
/// Nothing is remembered longer, and failures without a time of their own this short.
const REMEMBERED_MAX: u32 = 3600;
const FAILURE_REMEMBERED: u32 = 5;

/// Asks other resolvers.
pub(crate) struct Forwarder {
    upstreams: Vec<SocketAddr>,
    entropy: Arc<dyn Entropy>,
    questions: Semaphore,
    cache: Mutex<HashMap<Key, Remembered>>,
}

/// The question as it was asked, in lower case, and what else decides the answer.
type Key = (Vec<u8>, u8);

struct Remembered {
    answer: Vec<u8>,
    since: Instant,
    until: Instant,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("too many questions are under way")]
    Busy,
    #[error("no resolver is configured on this host")]
    NoUpstream,
    #[error("no resolver answered")]
    Silent(#[source] io::Error),
}

impl Forwarder {
    pub(crate) fn new(upstreams: Vec<SocketAddr>, entropy: Arc<dyn Entropy>) -> Forwarder {
        Forwarder {
            upstreams,
            entropy,
            questions: Semaphore::new(QUESTIONS_MAX),
            cache: Mutex::default(),
        }
    }

    /// The remembered answer, with its times as they are now, under the asker's id.
    pub(crate) fn remembered(&self, query: &Query<'_>) -> Option<Vec<u8>> {
        let now = Instant::now();
        let cache = self.cache.lock().expect("no holder of this lock panics");
        let known = cache.get(&key(query)).filter(|known| known.until > now)?;
        let age = u32::try_from((now - known.since).as_secs()).unwrap_or(u32::MAX);
        let mut answer = known.answer.clone();
        drop(cache);
        age_by(&mut answer, age);
        adopt(&mut answer, query);
        Some(answer)
    }

    /// Asks one resolver after the other. `bytes` is the query as it came.
    ///
    /// # Errors
    /// When none answers; the caller says so to the asker.
    pub(crate) async fn ask(
        &self,
        query: &Query<'_>,
        bytes: &[u8],
    ) -> Result<Vec<u8>, ForwardError> {
        let _permit = self
            .questions
            .try_acquire()
            .map_err(|_| ForwardError::Busy)?;
        let mut failure = None;
        for upstream in &self.upstreams {
            match self.ask_one(*upstream, query, bytes).await {
                Ok(mut answer) => {
                    self.remember(query, &answer);
                    adopt(&mut answer, query);
                    return Ok(answer);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.map_or(ForwardError::NoUpstream, ForwardError::Silent))
    }

    async fn ask_one(
        &self,
        upstream: SocketAddr,
        query: &Query<'_>,
        bytes: &[u8],
    ) -> io::Result<Vec<u8>> {
        // A port and an id of its own for each question: what an off-path forger would have to guess (RFC 5452).
        let mut question = bytes.to_vec();
        let id: [u8; 2] = self.entropy.bytes();
        question[..2].copy_from_slice(&id);
        let exchange = async {
            let answer = by_udp(upstream, &question, query).await?;
            let is_cut = answer[2] & 2 != 0;
            if is_cut {
                by_tcp(upstream, &question, query).await
            } else {
                Ok(answer)
            }
        };
        timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn remember(&self, query: &Query<'_>, answer: &[u8]) {
        let Some(seconds) = life(answer).filter(|seconds| *seconds > 0) else {
            return;
        };
        let since = Instant::now();
        let until = since + Duration::from_secs(seconds.min(REMEMBERED_MAX).into());
        let mut cache = self.cache.lock().expect("no holder of this lock panics");
        if cache.len() >= CACHE_MAX {
            cache.retain(|_, known| known.until > since);
        }
        if cache.len() < CACHE_MAX {
            let answer = answer.to_vec();
            cache.insert(
                key(query),
                Remembered {
                    answer,
                    since,
                    until,
                },
            );
        }
    }
}

fn key(query: &Query<'_>) -> Key {
    (query.question.to_ascii_lowercase(), query.variant())
}

/// Gives an answer the asker's id, and the question in the asker's spelling.
fn adopt(answer: &mut [u8], query: &Query<'_>) {
    answer[..2].copy_from_slice(&query.id.to_be_bytes());
    answer[HEADER..HEADER + query.question.len()].copy_from_slice(query.question);
}

fn local(upstream: SocketAddr) -> SocketAddr {
    match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

async fn by_udp(upstream: SocketAddr, question: &[u8], query: &Query<'_>) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(local(upstream)).await?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(&buffer[..length], question, query) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn by_tcp(upstream: SocketAddr, question: &[u8], query: &Query<'_>) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes()[..], question].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, question, query) {
        Ok(answer)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Whether a message is the answer to our question: id, kind and question agree.
fn answers(message: &[u8], question: &[u8], query: &Query<'_>) -> bool {
    let end = HEADER + query.question.len();
    message.len() >= end
        && message[..2] == question[..2]
        && message[2] & 0x80 != 0
        && message[4..6] == [0, 1]
        && message[HEADER..end].eq_ignore_ascii_case(query.question)
}

/// The records of an answer, all sections.
fn records(answer: &[u8]) -> Option<Vec<Record>> {
    let count = |at: usize| usize::from(u16::from_be_bytes([answer[at], answer[at + 1]]));
    let mut at = skip_name(answer, HEADER)? + 4;
    let total = count(6) + count(8) + count(10);
    let mut records = Vec::with_capacity(total.min(64));
    for _ in 0..total {
        let record = Record::read(answer, at)?;
        at = record.end;
        records.push(record);
    }
    Some(records)
}

/// Seconds an answer may be remembered: the shortest of its records; without any answer that of the zone's start of
/// authority (RFC 2308, 5). `None` if it cannot be read.
fn life(answer: &[u8]) -> Option<u32> {
    let records = records(answer)?;
    let minimum = |record: &Record| {
        let data = answer.get(record.data_at..record.end)?;
        let last: [u8; 4] = data.get(data.len().checked_sub(4)?..)?.try_into().ok()?;
        Some(u32::from_be_bytes(last).min(record.ttl))
    };
    let failed = !matches!(answer[3] & 0x0f, 0 | 3);
    let shortest = records
        .iter()
        .filter(|record| record.kind != TYPE_OPT)
        .map(|record| match record.kind {
            TYPE_SOA => minimum(record).unwrap_or(record.ttl),
            _ => record.ttl,
        })
        .min();
    Some(match shortest {
        _ if failed => FAILURE_REMEMBERED,
        Some(seconds) => seconds,
        None => FAILURE_REMEMBERED,
    })
}

/// Takes `age` seconds from every record's time to live.
fn age_by(answer: &mut [u8], age: u32) {
    for record in records(answer).unwrap_or_default() {
        if record.kind != TYPE_OPT {
            let left = record.ttl.saturating_sub(age);
            answer[record.ttl_at..record.ttl_at + 4].copy_from_slice(&left.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
