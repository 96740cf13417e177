//! One request brought to a machine of one service: other machines are tried as long as that is safe and allowed.

use std::sync::Arc;
use std::time::Duration;

use mayfly_routing::ReplayFailure;
use mayfly_types::{MachineId, Region};
use tokio::time::{Instant, sleep};

use super::attempt::{Attempt, Kept, Rules, Task, attempt};
use super::core::{Core, Scratch};
use super::exchange::{AnswerSink, Parts, RequestBody};
use super::http1::Http1Answers;
use super::memory::{Held, Memory};
use super::outbound::{self, Extra, Origin};
use super::pipeline::Ended;
use super::problem::Problem;
use super::site::Site;
use super::upstream::{Line, Speech, Upstream, connect};
use super::wanted::Wanted;
use crate::fleet::{Refusal, Service, Wish};
use crate::http2::{is_handshake, machine_stream};

/// Most tries of one request (Fly.io: PR03).
const TRIES_MAX: u32 = 90;
/// Most tries after a machine has seen the request: one that kills machines shall not kill them all.
const REPEATS_MAX: u32 = 3;
/// Between tries of machines that all refused; doubled each time.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A request under way, whatever it is for.
pub(crate) struct Delivery<'a, 'b, B, K> {
    pub(crate) core: &'a Core,
    pub(crate) parts: &'a mut Parts<'b, B, K>,
    pub(crate) memory: &'a mut Option<Box<Memory>>,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) kept: Kept,
    pub(crate) origin: Origin<'a>,
}

/// Where it goes, and as what.
pub(crate) struct Target<'a> {
    pub(crate) site: &'a Site,
    pub(crate) wanted: &'a Wanted,
    pub(crate) extra: &'a Extra,
    pub(crate) may_replay: bool,
    /// How long to look for a machine, if not as long as usual.
    pub(crate) patience: Option<Duration>,
}

#[derive(Debug)]
pub(crate) enum Delivered {
    Ended(Ended),
    /// The machine orders a replay; its head is the scratch's answer.
    Order {
        body: Vec<u8>,
        machine: MachineId,
        region: Region,
    },
}

/// No machine answered; nothing was passed on to the client.
#[derive(Debug)]
pub(crate) struct Undelivered {
    pub(crate) problem: Problem,
    pub(crate) reason: ReplayFailure,
}

/// What the tries of one target have come to.
struct Progress {
    /// When it began; asked for only once something has to be waited for.
    began: Option<Instant>,
    patience: Duration,
    /// How long refusals are taken for a matter of time.
    refused_patience: Duration,
    pause: Duration,
    tries: u32,
    repeats: u32,
    /// The next connection must be new.
    fresh: bool,
    last: Option<Problem>,
}

impl<B: RequestBody, K: AnswerSink> Delivery<'_, '_, B, K> {
    pub(crate) async fn deliver(&mut self, target: &Target<'_>) -> Result<Delivered, Undelivered> {
        let service = &target.site.service;
        let here = &self.core.settings.region;
        let mut wish = target
            .wanted
            .among(service, here, self.core.fleet.wish_from(here))
            .map_err(|problem| Undelivered {
                problem,
                reason: ReplayFailure::NoCandidate,
            })?;
        let excluded = wish.exclude.len();
        let http = &self.core.settings.http;
        let mut progress = Progress {
            // Of a replay, whose patience may be short, the time counts from here.
            began: target.patience.map(|_| Instant::now()),
            patience: target.patience.unwrap_or(http.queue_patience),
            refused_patience: http.refused_patience,
            pause: PAUSE,
            tries: 0,
            repeats: 0,
            fresh: false,
            last: None,
        };
        loop {
            progress.tries += 1;
            if progress.tries > 1 {
                self.core.counters.retries.add();
            }
            let upstream = match self.upstream(target.site, &wish, &mut progress).await {
                Ok(upstream) => upstream,
                Err(Missing::Refused(machine)) => {
                    wish.exclude.push(machine);
                    if progress.tries < TRIES_MAX {
                        continue;
                    }
                    return Err(progress.give_up(Problem::new(
                        503,
                        "PR03",
                        "Too many machines refused.",
                    )));
                }
                // All have refused: those that begin to listen in a moment deserve another round.
                Err(Missing::None(_))
                    if wish.exclude.len() > excluded
                        && progress.tries < TRIES_MAX
                        && progress.repeats == 0
                        && Instant::now() + progress.pause
                            < progress.began() + progress.refused_patience =>
                {
                    sleep(progress.pause).await;
                    progress.pause = (progress.pause * 2).min(PAUSE_MAX);
                    wish.exclude.truncate(excluded);
                    continue;
                }
                Err(Missing::None(refusal)) => {
                    let problem = Problem::new(
                        refusal.status(),
                        refusal.code(),
                        format!("{}.", capitalized(&refusal.to_string())),
                    );
                    return Err(progress.give_up(problem));
                }
            };
            let machine = upstream.admission.machine;
            let reused = upstream.reused;
            let begun = self.core.ticker.now();
            let (ended, region) = self.attempt(target, upstream).await;
            progress.began.get_or_insert(begun);
            match ended {
                Attempt::Answered { .. } => return Ok(Delivered::Ended(Ended::Answered)),
                Attempt::Replay { body, .. } => {
                    return Ok(Delivered::Order {
                        body,
                        machine,
                        region: region.expect("a replay comes with its region"),
                    });
                }
                Attempt::Failed(failure) => {
                    let problem = Problem::failed(&failure, machine);
                    let head = self.parts.head;
                    if !((head.is_idempotent() || failure.was_never_seen())
                        && self.kept.is_whole()
                        && failure.is_worth_a_retry()
                        && progress.repeats < REPEATS_MAX)
                    {
                        return Err(Undelivered {
                            problem,
                            reason: ReplayFailure::RetriesExhausted,
                        });
                    }
                    progress.fresh = true;
                    progress.last = Some(problem);
                    // A kept connection that ended says nothing about its machine.
                    if !reused {
                        progress.repeats += 1;
                        wish.exclude.push(machine);
                    }
                }
                Attempt::Broken(broken) => {
                    tracing::debug!(machine_id = %machine, request_id = self.origin.request_id, error = mayfly_runtime::report(&broken), "exchange broke off");
                    return Ok(Delivered::Ended(Ended::Broken));
                }
            }
        }
    }

    /// A connection to a machine that takes the request.
    async fn upstream(
        &mut self,
        site: &Site,
        wish: &Wish,
        progress: &mut Progress,
    ) -> Result<Upstream, Missing> {
        let (service, options) = (&site.service, site.options());
        if progress.tries == 1
            && let Some(upstream) = self.held(service, wish)
        {
            return Ok(upstream);
        }
        let admission = self
            .core
            .fleet
            .admit(service, wish, || progress.deadline())
            .await
            .map_err(Missing::None)?;
        let head = self.parts.head;
        let speech = match (options.h2_backend, head.upgrade) {
            (true, false) => Speech::Http2,
            (true, true) if is_handshake(head) => Speech::WebSocket,
            _ => Speech::Http1,
        };
        let fresh = progress.fresh || !(admission.pools() || speech == Speech::Http2);
        connect(self.core, admission, speech, fresh, || progress.deadline())
            .await
            .map_err(|(admission, error)| {
                let machine = error.machine;
                let port = admission.port();
                progress.last = Some(Problem::refused(&error.source, machine, port));
                Missing::Refused(machine)
            })
    }

    /// The connection that belongs to the client's, if it leads where the request goes: where connections are counted
    /// each of the client's has its own, and keeps it.
    fn held(&mut self, service: &Arc<Service>, wish: &Wish) -> Option<Upstream> {
        let held = match (self.memory.as_mut(), self.parts.shared) {
            (Some(memory), _) => memory.held.take()?,
            (None, Some(shared)) if !service.pools() => shared.take_held()?,
            (None, _) => return None,
        };
        let Held {
            service: of,
            admission,
            address,
            channel,
        } = *held;
        let fits = Arc::ptr_eq(&of, service)
            && *wish == self.core.fleet.wish_from(&self.core.settings.region)
            && channel.is_quiet();
        fits.then(|| {
            self.core.counters.reused.add();
            Upstream {
                admission,
                address,
                line: Line::Http1(channel),
                reused: true,
            }
        })
    }

    /// Where the machine is, is told with a replay.
    async fn attempt(
        &mut self,
        target: &Target<'_>,
        upstream: Upstream,
    ) -> (Attempt, Option<Region>) {
        let Upstream {
            admission,
            address,
            line,
            ..
        } = upstream;
        let options = target.site.options();
        let parts = &mut *self.parts;
        self.scratch.out.clear();
        let unavailable = admission
            .preferred_unavailable
            .map(|machine| machine.to_string())
            .or_else(|| target.wanted.unknown_preferred());
        outbound::request(
            parts.head,
            &self.origin,
            target.extra,
            unavailable.as_deref(),
            &mut self.scratch.out,
        );
        let task = Task {
            head: parts.head,
            body: &mut *parts.body,
            sink: &mut *parts.sink,
            pulse: parts.pulse,
            kept: &mut self.kept,
            answer: &mut self.scratch.answer,
            rules: Rules {
                request_id: self.origin.request_id,
                options: Some(options),
                idle: self.core.settings.idle_patience(options),
                may_replay: target.may_replay,
            },
        };
        let (ended, channel) = match line {
            Line::Http1(mut channel) => {
                let mut answers = Http1Answers::new(&mut channel.reader);
                let out = &mut self.scratch.out;
                let ended = attempt(task, &mut channel.writer, &mut answers, out).await;
                drop(answers);
                (ended, Some(channel))
            }
            Line::Http2(place) => {
                let (mut request, mut answers) = machine_stream(place);
                let out = &mut self.scratch.out;
                // The larger of the two, and not on the way of HTTP/1.
                (
                    Box::pin(attempt(task, &mut request, &mut answers, out)).await,
                    None,
                )
            }
        };
        let keep = matches!(
            ended,
            Attempt::Answered { keep_machine: true }
                | Attempt::Replay {
                    keep_machine: true,
                    ..
                }
        );
        if let Attempt::Answered { .. } = ended {
            self.core.counters.answered(self.scratch.answer.status);
        }
        let region = matches!(ended, Attempt::Replay { .. }).then(|| admission.region.clone());
        let Some(channel) = channel else {
            return (ended, region);
        };
        if keep && admission.pools() {
            self.core.pool.put(address, channel);
        } else if keep && matches!(ended, Attempt::Answered { .. }) {
            let held = Box::new(Held {
                service: Arc::clone(&target.site.service),
                admission,
                address,
                channel,
            });
            match (self.memory.as_mut(), self.parts.shared) {
                (Some(memory), _) => memory.held = Some(held),
                (None, Some(shared)) => shared.hold(held),
                (None, None) => {}
            }
        }
        (ended, region)
    }
}

enum Missing {
    /// The machine does not accept connections.
    Refused(MachineId),
    None(Refusal),
}

impl Progress {
    fn began(&mut self) -> Instant {
        *self.began.get_or_insert_with(Instant::now)
    }

    /// Until when a machine is looked for.
    fn deadline(&mut self) -> Instant {
        self.began() + self.patience
    }

    /// Ends the tries; what the last machine did says more than that none is left.
    fn give_up(mut self, problem: Problem) -> Undelivered {
        let reason = if Instant::now() >= self.deadline() {
            ReplayFailure::Timeout
        } else if self.last.is_some() {
            ReplayFailure::RetriesExhausted
        } else {
            ReplayFailure::NoCandidate
        };
        Undelivered {
            problem: match self.last {
                Some(last) => last.after(self.tries),
                None => problem,
            },
            reason,
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
