//! One request given to one machine, and its answer passed on.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mayfly_machine::HttpOptions;
use mayfly_routing::{REPLAY_BODY_MAX, REPLAY_JSON_MAX};

use super::body::{BodyError, Form};
use super::exchange::{AnswerSink, AnswerSource, HeadError, RequestBody, RequestSink};
use super::head::{Framing, RequestHead};
use super::outbound::Answer;
use super::pulse::{Expired, Pulse};
use super::response_head::ResponseHead;
use crate::compress::{Coding, Compression, Encoder};

/// Bytes of a request's body kept so that it can be sent again.
const KEPT_MAX: usize = REPLAY_BODY_MAX;

/// The kind of error that says that a machine has not looked at a request (RFC 9113, 8.7).
pub(crate) const NEVER_SEEN: io::ErrorKind = io::ErrorKind::NotConnected;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The answer was passed on whole; whether the machine's connection can carry another request.
    Answered { keep_machine: bool },
    /// The machine orders a replay; the body of its answer is given if it is short enough to be an order.
    Replay { body: Vec<u8>, keep_machine: bool },
    /// Nothing was passed on.
    Failed(Failure),
    /// The answer began and could not be finished, or the client is gone.
    Broken(Broken),
}

/// Why a machine gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the machine ended the connection without an answer")]
    Ended,
    #[error("the machine reset the connection")]
    Io(#[source] io::Error),
    #[error("the machine's answer is not HTTP")]
    Garbled,
    #[error("the machine did not answer in time")]
    Late,
}

impl Failure {
    /// Whether another machine may do better. One that took too long has used up the client's patience.
    pub(crate) fn is_worth_a_retry(&self) -> bool {
        !matches!(self, Failure::Late)
    }

    /// The machine said that it has not looked at the request: even one that must not be repeated may be sent again.
    pub(crate) fn was_never_seen(&self) -> bool {
        matches!(self, Failure::Io(error) if error.kind() == NEVER_SEEN)
    }
}

/// Why an exchange cannot be saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("pass the request's body on")]
    Request(#[source] BodyError),
    #[error("pass the answer's body on")]
    Answer(#[source] BodyError),
    #[error("compress the answer's body")]
    Coding(#[source] io::Error),
    #[error("write to the client")]
    Client(#[source] io::Error),
    #[error("nothing moved for too long")]
    Idle,
}

/// What was read of a request's body, for another attempt.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl Kept {
    /// For a body with this framing; one that is known to be too long is not kept at all.
    pub(crate) fn new(framing: Framing) -> Kept {
        Kept {
            bytes: Vec::new(),
            overflowed: matches!(framing, Framing::Length(length) if length > KEPT_MAX as u64),
        }
    }

    fn add(&mut self, data: &[u8]) {
        if self.overflowed {
            return;
        }
        if self.bytes.len() + data.len() > KEPT_MAX {
            self.overflowed = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(data);
        }
    }

    /// Whether everything read so far can be sent again.
    pub(crate) fn is_whole(&self) -> bool {
        !self.overflowed
    }
}

/// What all attempts of one request share.
pub(crate) struct Task<'a, B, K> {
    pub(crate) head: &'a RequestHead,
    pub(crate) body: &'a mut B,
    pub(crate) sink: &'a mut K,
    pub(crate) pulse: &'a Arc<Pulse>,
    pub(crate) kept: &'a mut Kept,
    pub(crate) answer: &'a mut ResponseHead,
    pub(crate) rules: Rules<'a>,
}

/// How the answer is treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) options: Option<&'a HttpOptions>,
    pub(crate) idle: Duration,
    /// A replay order is obeyed, not passed on.
    pub(crate) may_replay: bool,
}

/// Sends the request that begins with `request_head` and passes the answer on. Both directions run at once, so an
/// answer may come before the request's body has ended.
pub(crate) async fn attempt<B, K, W, A>(
    task: Task<'_, B, K>,
    to_machine: &mut W,
    from_machine: &mut A,
    request_head: &mut Vec<u8>,
) -> Attempt
where
    B: RequestBody,
    K: AnswerSink,
    W: RequestSink,
    A: AnswerSource,
{
    let Task {
        head,
        body,
        sink,
        pulse,
        kept,
        answer,
        rules,
    } = task;
    pulse.set(rules.idle);
    let moved = || pulse.set(rules.idle);
    let ended = {
        let mut upload = pin!(upload(body, kept, to_machine, request_head, moved));
        let mut download = pin!(download(head, sink, from_machine, answer, rules, moved));
        let mut uploaded = false;
        let both = async {
            loop {
                tokio::select! {
                    biased;
                    result = &mut upload, if !uploaded => match result {
                        Ok(()) => uploaded = true,
                        // The machine may refuse the body and still answer (RFC 9112, 9.6).
                        Err(UploadError::Machine(error)) => {
                            return match download.await {
                                Download::Answered { .. } => Download::Answered { keep_machine: false },
                                Download::Replay { body, .. } => Download::Replay { body, keep_machine: false },
                                Download::Failed(Failure::Ended) => Download::Failed(Failure::Io(error)),
                                other => other,
                            };
                        }
                        Err(UploadError::Client(error)) => return Download::Broken(Broken::Request(error)),
                    },
                    ended = &mut download => return match ended {
                        Download::Switched if !uploaded => match upload.await {
                            Ok(()) => Download::Switched,
                            Err(_) => Download::Broken(Broken::Idle),
                        },
                        Download::Answered { .. } if !uploaded => Download::Answered { keep_machine: false },
                        Download::Replay { body, .. } if !uploaded => Download::Replay { body, keep_machine: false },
                        ended => ended,
                    }
                }
            }
        };
        pulse.watch(pin!(both)).await
    };
    match ended {
        Ok(Download::Answered { keep_machine }) => Attempt::Answered { keep_machine },
        Ok(Download::Replay { body, keep_machine }) => Attempt::Replay { body, keep_machine },
        Ok(Download::Failed(failure)) => Attempt::Failed(failure),
        Ok(Download::Broken(broken)) => Attempt::Broken(broken),
        Ok(Download::Switched) => {
            body.tunnel();
            from_machine.tunnel();
            let outward = pump_out(body, to_machine, moved);
            let inward = pump_in(from_machine, sink, moved);
            let both = Box::pin(async { tokio::try_join!(outward, inward) });
            match pulse.watch(both).await {
                Ok(Ok(_)) => Attempt::Answered {
                    keep_machine: false,
                },
                Ok(Err(broken)) => Attempt::Broken(broken),
                Err(Expired) => Attempt::Broken(Broken::Idle),
            }
        }
        Err(Expired) if answer.status < 200 => Attempt::Failed(Failure::Late),
        Err(Expired) => Attempt::Broken(Broken::Idle),
    }
}

enum UploadError {
    Client(BodyError),
    Machine(io::Error),
}

/// Passes the request on; the first write holds the head, what was kept, and what has arrived of the body.
async fn upload<B: RequestBody, W: RequestSink>(
    body: &mut B,
    kept: &mut Kept,
    to: &mut W,
    out: &mut Vec<u8>,
    moved: impl Fn() + Send,
) -> Result<(), UploadError> {
    out.extend_from_slice(&kept.bytes);
    let mut last = body.is_done();
    if !last {
        let piece = body.buffered().map_err(UploadError::Client)?;
        kept.add(piece.data);
        out.extend_from_slice(piece.data);
        last = piece.last;
    }
    to.send(out).await.map_err(UploadError::Machine)?;
    while !last {
        let piece = body.next().await.map_err(UploadError::Client)?;
        moved();
        kept.add(piece.data);
        last = piece.last;
        if !piece.data.is_empty() {
            to.send(piece.data).await.map_err(UploadError::Machine)?;
            moved();
        }
    }
    Ok(())
}

enum Download {
    Answered { keep_machine: bool },
    Replay { body: Vec<u8>, keep_machine: bool },
    Switched,
    Failed(Failure),
    Broken(Broken),
}

async fn download<K: AnswerSink, A: AnswerSource>(
    head: &RequestHead,
    sink: &mut K,
    machine: &mut A,
    answer: &mut ResponseHead,
    rules: Rules<'_>,
    moved: impl Fn() + Send,
) -> Download {
    // Nothing has been answered yet.
    answer.status = 0;
    loop {
        if let Err(error) = machine.head(head.method(), answer).await {
            answer.status = 0;
            return Download::Failed(match error {
                HeadError::Ended => Failure::Ended,
                HeadError::Read(error) => Failure::Io(error),
                HeadError::Garbled => Failure::Garbled,
            });
        }
        moved();
        if answer.status == 101 && !head.upgrade {
            answer.status = 0;
            return Download::Failed(Failure::Garbled);
        }
        if answer.status >= 200 && answer.replay && rules.may_replay {
            return replay_order(machine, answer.keep_alive).await;
        }
        let compression = compression_of(head, answer, rules);
        // The body of an answer to HEAD is none, coded or not.
        let coding = compression
            .coding()
            .filter(|_| answer.framing != Framing::None);
        let passed = Answer {
            head: answer,
            framing: if coding.is_some() {
                Framing::UntilClose
            } else {
                answer.framing
            },
            request_id: rules.request_id,
            options: rules.options,
            compression,
        };
        if answer.status < 200 && answer.status != 101 {
            if let Err(error) = sink.interim(&passed).await {
                return Download::Broken(Broken::Client(error));
            }
            continue;
        }
        let form = sink.begin(&passed);
        if answer.status == 101 {
            return match sink.body(&[]).await {
                Ok(()) => Download::Switched,
                Err(error) => Download::Broken(Broken::Client(error)),
            };
        }
        let passed = match coding {
            // Rare, and large.
            Some(coding) => Box::pin(pass_coded(machine, sink, coding, moved)).await,
            None => pass_body(machine, sink, form, moved).await,
        };
        return match passed {
            Ok(()) => Download::Answered {
                keep_machine: answer.keep_alive,
            },
            Err(broken) => Download::Broken(broken),
        };
    }
}

async fn pass_body<K: AnswerSink, A: AnswerSource>(
    machine: &mut A,
    sink: &mut K,
    form: Form,
    moved: impl Fn() + Send,
) -> Result<(), Broken> {
    // What came with the head leaves with it; what did not is not waited for.
    let mut piece = machine.buffered(form).map_err(Broken::Answer)?;
    let mut begins = true;
    loop {
        let last = piece.last;
        if !piece.data.is_empty() || (begins && !last) {
            sink.body(piece.data).await.map_err(Broken::Client)?;
            moved();
        }
        if last {
            break;
        }
        begins = false;
        piece = machine.next(form).await.map_err(Broken::Answer)?;
        moved();
    }
    let trailers = match form {
        Form::Plain => machine.trailers(),
        Form::AsIs => &[],
    };
    sink.end(trailers).await.map_err(Broken::Client)
}

fn compression_of(head: &RequestHead, answer: &ResponseHead, rules: Rules<'_>) -> Compression {
    if answer.status < 200 || rules.options.is_none_or(|options| !options.compress) {
        return Compression::Off;
    }
    let accepted = head
        .fields()
        .filter(|(_, name, _)| name.eq_ignore_ascii_case(b"accept-encoding"))
        .map(|(_, _, value)| value);
    let fields = answer.fields().map(|(_, name, value)| (name, value));
    Compression::choose(accepted, answer.status, fields)
}

/// Codes the body on its way. Its trailers stay what they are.
async fn pass_coded<K: AnswerSink, A: AnswerSource>(
    machine: &mut A,
    sink: &mut K,
    coding: Coding,
    moved: impl Fn() + Send,
) -> Result<(), Broken> {
    let mut encoder = Encoder::new(coding).map_err(Broken::Coding)?;
    let mut coded = Vec::new();
    let mut piece = machine.buffered(Form::Plain).map_err(Broken::Answer)?;
    if piece.data.is_empty() && !piece.last {
        sink.body(&[]).await.map_err(Broken::Client)?;
    }
    loop {
        let last = piece.last;
        encoder
            .push(piece.data, &mut coded)
            .map_err(Broken::Coding)?;
        if last {
            break;
        }
        if !coded.is_empty() {
            sink.body(&coded).await.map_err(Broken::Client)?;
            coded.clear();
        }
        piece = machine.next(Form::Plain).await.map_err(Broken::Answer)?;
        moved();
    }
    encoder.finish(&mut coded).map_err(Broken::Coding)?;
    sink.body(&coded).await.map_err(Broken::Client)?;
    sink.end(machine.trailers()).await.map_err(Broken::Client)
}

/// Passes on an answer that no machine has to give.
pub(crate) async fn answer_from<K: AnswerSink, A: AnswerSource>(
    source: &mut A,
    head: &RequestHead,
    sink: &mut K,
    pulse: &Arc<Pulse>,
    answer: &mut ResponseHead,
    rules: Rules<'_>,
) -> Result<(), Broken> {
    pulse.set(rules.idle);
    let moved = || pulse.set(rules.idle);
    let passed = download(head, sink, source, answer, rules, moved);
    match pulse.watch(pin!(passed)).await {
        Ok(Download::Answered { .. }) => Ok(()),
        Ok(Download::Broken(broken)) => Err(broken),
        Ok(_) | Err(Expired) => Err(Broken::Idle),
    }
}

/// Reads the body of a replay order; one that is too long to be kept is no order.
async fn replay_order<A: AnswerSource>(machine: &mut A, keep_alive: bool) -> Download {
    let mut body = Vec::new();
    loop {
        match machine.next(Form::Plain).await {
            Ok(piece) => {
                if body.len() + piece.data.len() > REPLAY_JSON_MAX {
                    // One byte too many: whoever reads it sees that it is too long.
                    body.resize(REPLAY_JSON_MAX + 1, b' ');
                    return Download::Replay {
                        body,
                        keep_machine: false,
                    };
                }
                body.extend_from_slice(piece.data);
                if piece.last {
                    return Download::Replay {
                        body,
                        keep_machine: keep_alive,
                    };
                }
            }
            Err(_) => return Download::Failed(Failure::Garbled),
        }
    }
}

async fn pump_out<B: RequestBody, W: RequestSink>(
    from: &mut B,
    to: &mut W,
    moved: impl Fn() + Send,
) -> Result<(), Broken> {
    loop {
        let piece = from.next().await.map_err(Broken::Request)?;
        moved();
        if !piece.data.is_empty() && to.send(piece.data).await.is_err() {
            return Err(Broken::Idle);
        }
        if piece.last {
            // A machine that is gone has nothing to be told.
            let _ = to.finish().await;
            return Ok(());
        }
    }
}

async fn pump_in<A: AnswerSource, K: AnswerSink>(
    from: &mut A,
    to: &mut K,
    moved: impl Fn() + Send,
) -> Result<(), Broken> {
    loop {
        let piece = from.next(Form::AsIs).await.map_err(Broken::Answer)?;
        moved();
        if !piece.data.is_empty() {
            to.body(piece.data).await.map_err(Broken::Client)?;
        }
        if piece.last {
            return to.end(&[]).await.map_err(Broken::Client);
        }
    }
}
