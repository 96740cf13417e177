//! A client's connection: request after request until one side has had enough.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_runtime::{Clock, Entropy, Stop};
use mayfly_types::{InstanceId, Region};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::body::{Channel, pump};
use crate::error_page;
use crate::head::{Framing, Refused, RequestHead};
use crate::outbound::{self, Origin};
use crate::pool::Pool;
use crate::response::{Exchange, exchange};
use crate::route::RouteTable;
use crate::transport::{ClientStream, ConnInfo};
use crate::upstream::{Unreachable, Upstream, connect};

/// How long a head may take from its first byte to its last.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long a kept connection waits for its next request.
const IDLE_PATIENCE: Duration = Duration::from_secs(60);

/// What the connections of one core share.
pub(crate) struct Core {
    pub(crate) domain: String,
    pub(crate) region: Region,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) pool: Pool,
    pub(crate) table: Mutex<Arc<RouteTable>>,
}

/// What happens to the client's connection after a request.
enum Next {
    Another,
    Close,
}

/// An answer of our own.
struct Problem {
    status: u16,
    code: &'static str,
    message: String,
}

impl Core {
    /// Serves requests until the client leaves, a request cannot be followed by another, or `stop` finds it idle.
    pub(crate) async fn serve<S: ClientStream>(&self, stream: S, conn: ConnInfo, stop: Stop) {
        let mut client = Channel::new(stream);
        loop {
            let head = tokio::select! {
                head = read_head(&mut client) => head,
                () = stop.cancelled(), if client.reader.unread().is_empty() => return,
            };
            let request_id = self.request_id();
            let next = match head {
                Ok(Some(head)) => {
                    self.serve_request(&mut client, &conn, &head, &request_id)
                        .await
                }
                Ok(None) => return,
                Err(Refused { status, reason }) => {
                    let problem = Problem {
                        status,
                        code: "bad_request",
                        message: reason.to_owned(),
                    };
                    respond(&mut client, problem, &request_id, true).await
                }
            };
            if matches!(next, Next::Close) || stop.is_cancelled() {
                return;
            }
            client.reader.rest();
        }
    }

    async fn serve_request<S: ClientStream>(
        &self,
        client: &mut Channel<S>,
        conn: &ConnInfo,
        head: &RequestHead,
        request_id: &str,
    ) -> Next {
        let origin = Origin {
            peer: conn.peer,
            port: conn.door.bound,
            region: self.region.as_str(),
            request_id,
            received_us: self.clock.now().as_millis().saturating_mul(1000),
        };
        let request_head = outbound::request(head, client.reader.unread(), &origin);
        client.reader.consume(head.length);
        let replayable = head.framing == Framing::None && is_idempotent(&head.method);
        match self
            .exchange_with_machine(client, head, request_head, replayable, request_id)
            .await
        {
            Ok(next) => next,
            Err(problem) => respond(client, problem, request_id, head.wants_json).await,
        }
    }

    async fn exchange_with_machine<S: ClientStream>(
        &self,
        client: &mut Channel<S>,
        head: &RequestHead,
        request_head: Vec<u8>,
        replayable: bool,
        request_id: &str,
    ) -> Result<Next, Problem> {
        let table = Arc::clone(&self.table.lock().expect("no holder of this lock panics"));
        let route = table
            .by_host(&head.host, &self.domain)
            .ok_or_else(|| Problem {
                status: 404,
                code: "app_not_found",
                message: format!(
                    "No app answers to {}. Apps are served at <app>.{}.",
                    head.host, self.domain
                )
                .replace('<', "&lt;")
                .replace('>', "&gt;"),
            })?;
        let mut fresh = false;
        loop {
            let Upstream {
                target,
                address,
                mut channel,
                reused,
            } = connect(route, &self.pool, fresh)
                .await
                .map_err(|error| unreachable_problem(&error))?;
            match exchange(client, &mut channel, head, request_head.clone(), request_id).await {
                Exchange::Answered {
                    keep_client,
                    keep_machine,
                } => {
                    if keep_machine {
                        self.pool.put(address, channel);
                    }
                    return Ok(if keep_client {
                        Next::Another
                    } else {
                        Next::Close
                    });
                }
                Exchange::Switched => {
                    tunnel(client, &mut channel).await;
                    return Ok(Next::Close);
                }
                Exchange::NotAnswered if reused && replayable && !fresh => fresh = true,
                Exchange::NotAnswered => {
                    return Err(Problem {
                        status: 502,
                        code: "machine_hung_up",
                        message: format!(
                            "Machine {} ended the connection without an answer.",
                            target.machine
                        ),
                    });
                }
                Exchange::Garbled => {
                    return Err(Problem {
                        status: 502,
                        code: "machine_garbled",
                        message: format!("Machine {} did not answer in HTTP/1.", target.machine),
                    });
                }
                Exchange::Broken(error) => {
                    tracing::debug!(machine_id = %target.machine, request_id, error = %error, "exchange broke off");
                    return Ok(Next::Close);
                }
            }
        }
    }

    fn request_id(&self) -> String {
        format!(
            "{}-{}",
            InstanceId::new(self.clock.now(), self.entropy.bytes()),
            self.region
        )
    }
}

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}

fn unreachable_problem(error: &Unreachable) -> Problem {
    match error {
        Unreachable::NoMachine => Problem {
            status: 503,
            code: "no_machine_started",
            message: "No machine of this app is started.".to_owned(),
        },
        Unreachable::Refused(target) => Problem {
            status: 502,
            code: "machine_refused",
            message: format!(
                "Machine {} does not accept connections on port {}: the app must listen on 0.0.0.0 or [::] there.",
                target.machine,
                target.addresses[0].port()
            ),
        },
    }
}

/// `None` when the client has left or stayed silent between requests.
async fn read_head<S: ClientStream>(
    client: &mut Channel<S>,
) -> Result<Option<RequestHead>, Refused> {
    if client.reader.unread().is_empty() {
        match timeout(IDLE_PATIENCE, client.reader.fill()).await {
            Ok(Ok(count)) if count > 0 => {}
            _ => return Ok(None),
        }
    }
    let whole = async {
        loop {
            if let Some(head) = RequestHead::parse(client.reader.unread())? {
                return Ok(Some(head));
            }
            match client.reader.fill().await {
                Ok(count) if count > 0 => {}
                _ => return Ok(None),
            }
        }
    };
    timeout(HEAD_PATIENCE, whole).await.unwrap_or(Err(Refused {
        status: 408,
        reason: "the request head did not arrive in time",
    }))
}

async fn respond<S: ClientStream>(
    client: &mut Channel<S>,
    problem: Problem,
    request_id: &str,
    wants_json: bool,
) -> Next {
    let page = error_page::render(
        problem.status,
        problem.code,
        &problem.message,
        request_id,
        wants_json,
    );
    // A client that is gone needs no answer.
    if client.writer.write_all(&page).await.is_ok() {
        let _ = client.writer.shutdown().await;
    }
    Next::Close
}

async fn tunnel<S: ClientStream>(client: &mut Channel<S>, machine: &mut Channel) {
    let outward = pump(&mut client.reader, &mut machine.writer);
    let inward = pump(&mut machine.reader, &mut client.writer);
    let _ = tokio::try_join!(outward, inward);
}
