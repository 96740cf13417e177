//! One request from its head to its answer, whatever protocol the client speaks.

use std::time::Duration;

use mayfly_machine::Protocol;
use tokio::time::Instant;

use super::attempt::{Attempt, Kept, Rules, Task, attempt};
use super::core::{Core, Scratch};
use super::exchange::{AnswerSink, Exchange, Parts, RequestBody};
use super::http1::Http1Answers;
use super::outbound::{self, Extra, Origin, continue_trace};
use super::problem::Problem;
use super::upstream::{Line, Upstream, connect};
use crate::http2::machine_stream;
use crate::transport::ConnInfo;

/// How long nothing may move on an exchange (Fly.io closes idle connections after 60 s).
pub(crate) const IDLE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a request waits for a machine: for room on one, or for one to start.
const ADMIT_PATIENCE: Duration = Duration::from_secs(60);

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
    let request_id = core.request_id();
    let mut parts = exchange.parts();
    let mut scratch = core.take_scratch();
    let ended = match serve(core, conn, &mut parts, &mut scratch, &request_id).await {
        Ok(ended) => ended,
        Err(problem) => refuse(&mut parts, &problem, &request_id).await,
    };
    core.give_back(scratch);
    ended
}

async fn refuse<B: RequestBody, K: AnswerSink>(
    parts: &mut Parts<'_, B, K>,
    problem: &Problem,
    request_id: &str,
) -> Ended {
    tracing::debug!(
        code = problem.code,
        request_id,
        machine_id = problem.machine.map(tracing::field::display),
        "{}",
        problem.message
    );
    parts.pulse.set(IDLE_PATIENCE);
    let reply = problem.reply(parts.head.wants_json, request_id);
    let sent = reply.send(parts.head, parts.sink, request_id);
    match parts.pulse.watch(sent).await {
        Ok(Ok(())) => Ended::Answered,
        _ => Ended::Broken,
    }
}

async fn serve<B: RequestBody, K: AnswerSink>(
    core: &Core,
    conn: &ConnInfo,
    parts: &mut Parts<'_, B, K>,
    scratch: &mut Scratch,
    request_id: &str,
) -> Result<Ended, Problem> {
    let head = parts.head;
    let table = core.fleet.table();
    let app = table.by_host(head.host()).ok_or_else(|| {
        Problem::new(
            404,
            "app_not_found",
            format!(
                "No app answers to {}. Apps are served at <app>.{}.",
                head.host(),
                core.domain
            ),
        )
    })?;
    let service = match app.port(conn.door.port, Protocol::Tcp) {
        Some((service, _)) => service,
        None => app.any_service().ok_or_else(|| {
            Problem::new(
                503,
                "PR01",
                format!("App {} has no machine that takes requests.", app.name),
            )
        })?,
    };
    let deadline = Instant::now() + ADMIT_PATIENCE;
    let trace = continue_trace(
        head.get("traceparent"),
        [core.chance(), core.chance(), core.chance()],
    );
    let origin = Origin {
        peer: conn.peer,
        address: conn.door.ip,
        port: conn.door.bound,
        tls: conn.tls.is_some(),
        region: core.region.as_str(),
        request_id,
        trace: &trace,
        received_us: core.clock.now().as_millis().saturating_mul(1000),
    };
    let extra = Extra::default();
    let mut kept = Kept::default();
    let mut fresh = false;
    loop {
        let Upstream {
            admission,
            address,
            line,
            reused,
        } = connect(core, service, fresh, deadline)
            .await
            .map_err(|error| Problem::unreachable(&error))?;
        scratch.out.clear();
        outbound::request(head, &origin, &extra, &mut scratch.out);
        let task = Task {
            head,
            body: &mut *parts.body,
            sink: &mut *parts.sink,
            pulse: parts.pulse,
            kept: &mut kept,
            answer: &mut scratch.answer,
            rules: Rules {
                request_id,
                options: None,
                idle: IDLE_PATIENCE,
                may_replay: false,
            },
        };
        let ended = match line {
            Line::Http1(mut channel) => {
                let ended = {
                    let mut answers = Http1Answers::new(&mut channel.reader);
                    attempt(task, &mut channel.writer, &mut answers, &mut scratch.out).await
                };
                if matches!(ended, Attempt::Answered { keep_machine: true }) && admission.pools() {
                    core.pool.put(address, channel);
                }
                ended
            }
            Line::Http2(place) => {
                let (mut request, mut answers) = machine_stream(place);
                // The larger of the two, and not on the way of HTTP/1.
                Box::pin(attempt(task, &mut request, &mut answers, &mut scratch.out)).await
            }
        };
        match ended {
            Attempt::Answered { .. } => return Ok(Ended::Answered),
            Attempt::Failed(failure)
                if reused
                    && !fresh
                    && kept.is_whole()
                    && (head.is_idempotent() || failure.was_never_seen()) =>
            {
                fresh = true;
            }
            Attempt::Failed(failure) => return Err(Problem::failed(&failure, admission.machine)),
            Attempt::Replay { .. } => unreachable!("orders are not obeyed yet"),
            Attempt::Broken(broken) => {
                tracing::debug!(machine_id = %admission.machine, request_id, error = mayfly_runtime::report(&broken), "exchange broke off");
                return Ok(Ended::Broken);
            }
        }
    }
}
