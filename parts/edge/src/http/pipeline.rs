//! One request from its head to its answer, whatever protocol the client speaks.

use std::sync::Arc;

use mayfly_types::Timestamp;

use super::attempt::{Kept, Rules, answer_from};
use super::core::{Core, Scratch};
use super::delivery::Delivery;
use super::early;
use super::exchange::{AnswerSink, AnswerSource, Exchange, Parts, RequestBody};
use super::limits::Excess;
use super::memory::Memory;
use super::outbound::{Origin, continue_trace};
use super::problem::{Problem, Reply};
use super::shared::Shared;
use super::site::{Known, Site};
use super::wanted::Wanted;
use crate::statics;
use crate::transport::ConnInfo;

/// How a request ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It has a whole answer.
    Answered,
    /// Its answer broke off: only closing the connection, or resetting the stream, can say so.
    Broken,
}

/// Answers one request. Both protocols' connections call this for each of theirs.
pub(crate) async fn serve_request<E: Exchange>(
    core: &Core,
    conn: &ConnInfo,
    exchange: &mut E,
) -> Ended {
    core.counters.requests.add();
    let mut memory = exchange.memory().and_then(Option::take);
    let mut scratch = core.take_scratch();
    let mut request_id = std::mem::take(&mut scratch.request_id);
    let now = core.clock.now();
    core.write_request_id(now, &mut request_id);
    let mut parts = exchange.parts();
    let visit = Visit {
        core,
        conn,
        request_id: &request_id,
        now,
    };
    let ended = visit.serve(&mut parts, &mut memory, &mut scratch).await;
    scratch.request_id = request_id;
    core.give_back(scratch);
    if ended == Ended::Broken {
        core.counters.broken.add();
    }
    if let Some(slot) = exchange.memory() {
        *slot = memory;
    }
    ended
}

/// What is the same for a request all the way.
#[derive(Clone, Copy)]
struct Visit<'a> {
    core: &'a Core,
    conn: &'a ConnInfo,
    request_id: &'a str,
    /// When the request came.
    now: Timestamp,
}

impl Visit<'_> {
    async fn serve<B: RequestBody, K: AnswerSink>(
        self,
        parts: &mut Parts<'_, B, K>,
        memory: &mut Option<Box<Memory>>,
        scratch: &mut Scratch,
    ) -> Ended {
        let (core, conn, head) = (self.core, self.conn, parts.head);
        let challenge = early::challenge(&core.directory, conn, head);
        if let Some(reply) = challenge {
            return self.answer(parts, &reply).await;
        }
        let last = match (memory.as_mut(), parts.shared) {
            (Some(memory), _) => memory.known.take(),
            (None, shared) => shared.and_then(Shared::known),
        };
        let known = match Known::find(last, core, conn, head) {
            Ok(known) => known,
            Err(problem) => return self.refuse(parts, &problem, None).await,
        };
        if let Some(shared) = parts.shared {
            shared.remember(&known);
        }
        let ended = self.serve_site(&known.site, parts, memory, scratch).await;
        if let Some(memory) = memory.as_mut() {
            memory.known = Some(known);
        }
        ended
    }

    async fn serve_site<B: RequestBody, K: AnswerSink>(
        self,
        site: &Site,
        parts: &mut Parts<'_, B, K>,
        memory: &mut Option<Box<Memory>>,
        scratch: &mut Scratch,
    ) -> Ended {
        let (core, conn, head) = (self.core, self.conn, parts.head);
        if let Some(memory) = memory.as_mut() {
            memory.idle = core.settings.idle_patience(site.options());
            memory.head = core.settings.head_patience(site.options());
        }
        let now_ms = self.now.as_millis();
        if let Err(excess) = self.count(site, memory.as_mut(), parts.shared) {
            core.counters.limited.add();
            return self
                .answer(
                    parts,
                    &too_much(excess, parts.head.wants_json, self.request_id),
                )
                .await;
        }
        if let Some(reply) = early::redirect(site, conn, head, core.settings.https_port) {
            return self.answer(parts, &reply).await;
        }
        let mapped = site.app.statics();
        if !mapped.is_empty()
            && let Some(wanted) = statics::Wanted::by(mapped, head.method(), head.path())
        {
            // Rare, and large.
            let served = Box::pin(self.file(wanted, site, parts, scratch));
            if let Some(ended) = served.await {
                return ended;
            }
        }
        let mut trace = std::mem::take(&mut scratch.trace);
        continue_trace(
            head.get("traceparent"),
            [core.chance(), core.chance(), core.chance()],
            &mut trace,
        );
        let mut delivery = Delivery {
            core,
            memory,
            scratch,
            kept: Kept::new(head.framing),
            origin: Origin {
                peer: conn.peer,
                address: conn.door.ip,
                port: conn.door.bound,
                tls: conn.tls.is_some(),
                region: core.settings.region.as_str(),
                request_id: self.request_id,
                trace: &trace,
                received_us: now_ms.saturating_mul(1000),
            },
            parts,
        };
        let followed = match Wanted::of(head) {
            Ok(wanted) => delivery.follow(conn.door.port, site, &wanted).await,
            Err(problem) => Err(problem),
        };
        scratch.trace = trace;
        match followed {
            Ok(ended) => ended,
            Err(problem) => self.refuse(parts, &problem, Some(site)).await,
        }
    }

    /// Counts the request, and its connection if it is the first to the app.
    fn count(
        self,
        site: &Site,
        memory: Option<&mut Box<Memory>>,
        shared: Option<&Shared>,
    ) -> Result<(), Excess> {
        let meter = &self.core.meter;
        if meter.is_off() {
            return Ok(());
        }
        let app = (site.app.app_id, site.app.name.as_str());
        let (client, now_ms) = (self.conn.peer.ip(), self.now.as_millis());
        match (memory, shared) {
            (Some(memory), _) => meter.admit(app, client, now_ms, &mut memory.slot),
            (None, Some(shared)) => meter.admit(app, client, now_ms, &mut shared.slot()),
            (None, None) => Ok(()),
        }
    }

    /// Answers with a file of the app's image or of a bucket, if it is there.
    async fn file<B: RequestBody, K: AnswerSink>(
        self,
        wanted: statics::Wanted,
        site: &Site,
        parts: &mut Parts<'_, B, K>,
        scratch: &mut Scratch,
    ) -> Option<Ended> {
        let (core, head) = (self.core, parts.head);
        let unreadable = match &wanted.bucket {
            None => {
                let machines = site.app.machines_by_version();
                let layers = statics::directories(&core.statics, machines)?;
                match statics::serve(wanted, layers, head).await {
                    Ok(found) => return Some(self.pass(&mut found?, site, parts, scratch).await),
                    Err(error) => {
                        tracing::error!(app = %site.app.name, error = %error, "a file of an image cannot be read");
                        "The file cannot be read.".to_owned()
                    }
                }
            }
            Some(bucket) => {
                let now = core.clock.now();
                let asked = core
                    .buckets
                    .serve(bucket, &wanted, &site.app.name, head, now);
                match asked.await {
                    Ok(found) => return Some(self.pass(&mut found?, site, parts, scratch).await),
                    Err(error) => {
                        tracing::warn!(app = %site.app.name, error = mayfly_runtime::report(&error), "a file of a bucket cannot be read");
                        format!("The file cannot be read: {error}.")
                    }
                }
            }
        };
        let problem = Problem::new(502, "PR05", unreadable);
        Some(self.refuse(parts, &problem, Some(site)).await)
    }

    /// Passes on what no machine was asked for.
    async fn pass<B: RequestBody, K: AnswerSink, A: AnswerSource>(
        self,
        found: &mut A,
        site: &Site,
        parts: &mut Parts<'_, B, K>,
        scratch: &mut Scratch,
    ) -> Ended {
        let rules = Rules {
            request_id: self.request_id,
            options: Some(site.options()),
            idle: self.core.settings.http.idle_patience,
            may_replay: false,
        };
        self.core.counters.own_answers.add();
        let (head, answer) = (parts.head, &mut scratch.answer);
        let sent = answer_from(found, head, parts.sink, parts.pulse, answer, rules);
        let ended = sent.await;
        self.core.counters.answered(scratch.answer.status);
        match ended {
            Ok(()) => Ended::Answered,
            Err(_) => Ended::Broken,
        }
    }

    async fn refuse<B: RequestBody, K: AnswerSink>(
        self,
        parts: &mut Parts<'_, B, K>,
        problem: &Problem,
        site: Option<&Site>,
    ) -> Ended {
        if let Some(site) = site
            && problem.status >= 500
        {
            self.core
                .notices
                .tell(site.app.name.as_str(), problem, self.request_id);
        }
        let reply = problem.reply(parts.head.wants_json, self.request_id);
        self.answer(parts, &reply).await
    }

    async fn answer<B: RequestBody, K: AnswerSink>(
        self,
        parts: &mut Parts<'_, B, K>,
        reply: &Reply,
    ) -> Ended {
        self.core.counters.own_answers.add();
        self.core.counters.answered(reply.status);
        parts.pulse.set(self.core.settings.http.idle_patience);
        let pulse = Arc::clone(parts.pulse);
        let sent = reply.send(parts.head, parts.sink, self.request_id);
        match pulse.watch(Box::pin(sent)).await {
            Ok(Ok(())) => Ended::Answered,
            _ => Ended::Broken,
        }
    }
}

fn too_much(excess: Excess, wants_json: bool, request_id: &str) -> Reply {
    let (code, message, wait) = match excess {
        Excess::Requests { retry_after_s } => (
            "too_many_requests",
            "Your address sends more requests than this app takes.",
            retry_after_s,
        ),
        Excess::Connections => (
            "too_many_connections",
            "Your address holds more connections than this app takes.",
            1,
        ),
    };
    let mut reply = Problem::new(429, code, message).reply(wants_json, request_id);
    reply.fields.push(("Retry-After", wait.to_string()));
    reply
}
