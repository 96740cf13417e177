use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{
    Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use mayfly_access::NamedImage;
use mayfly_builder::{Finding, Order, Output, Push};
use mayfly_control_store::{App, By, Machine, Org};
use mayfly_host_api::{ExecExit, ExecInput, ExecOutput, ExecSession};
use mayfly_machine::Signal;
use mayfly_runtime::report;
use mayfly_wire::{BuildEvent, BuildFailure, BuiltImage, StartBuild, read};
use tokio::sync::mpsc;

use super::BUILDS_MAX;
use super::builder::BuilderError;
use crate::access::{AppAccess, Lasting};
use crate::cloud::Cloud;
use crate::error::ApiError;

/// How long a client may take to say what to build.
const FIRST_MESSAGE_MAX: Duration = Duration::from_secs(10);
/// The first message holds the Dockerfile, arguments and secrets; later ones pieces of the context.
const MESSAGE_MAX: usize = 8 << 20;
/// Bytes of one context.
const CONTEXT_MAX: u64 = 32 << 30;
/// No build takes longer.
const BUILD_MAX: Duration = Duration::from_secs(4 * 3600);
/// How long a build that was called off may take to clean up after itself.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// A builder may go to sleep just when it is needed; then it is woken again.
const TRIES: usize = 5;
const TRY_PAUSE: Duration = Duration::from_millis(500);
/// What the build's program ends with when its machine is about to stop.
const ABOUT_TO_STOP: i32 = 75;
/// Messages on their way to the client. Output that it does not take holds the build up.
const OUTBOX_DEPTH: usize = 16;

type Outbox = mpsc::Sender<Message>;

/// `GET …/builds`: builds an image of the app from sources, over a WebSocket.
///
/// The first message says what to build ([`StartBuild`]). Once the builder is ready it takes the context, a tar stream in
/// binary messages that an empty one ends. What the build says comes as binary messages, what becomes of it as text
/// ([`BuildEvent`]). Closing the connection calls the build off.
pub(crate) async fn start(
    State(cloud): State<Arc<Cloud>>,
    Lasting { access, standing }: Lasting<AppAccess>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|error| ApiError::unreadable(error.body_text()))?;
    let Ok(place) = cloud.builds.places.clone().try_acquire_owned() else {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("busy: {BUILDS_MAX} builds are under way"),
        )
        .retry_after(10));
    };
    let by = access.caller.by(&cloud);
    // What is built has no digest yet.
    let built = NamedImage {
        repositories: cloud.own_names(access.app.name.as_str()),
        digest: None,
    };
    access.allowance().permit([built.clone()], [])?;
    let org = access.caller.org(access.app.org_id).cloned();
    let org = org.ok_or_else(ApiError::internal)?;
    let build = Build {
        cloud,
        app: access.app,
        org,
        by,
    };
    Ok(upgrade
        .max_message_size(MESSAGE_MAX)
        .on_upgrade(move |socket| async move {
            let _place = place;
            let (sink, stream) = socket.split();
            let (outbox, messages) = mpsc::channel(OUTBOX_DEPTH);
            let sending = send_all(sink, messages);
            let building = async {
                let still = |access: &AppAccess| access.allowance().permit([built.clone()], []);
                let last = Box::pin(build.run(stream, &outbox, standing.lost(still))).await;
                if let Some(last) = last {
                    tell(&outbox, &last).await;
                }
                drop(outbox);
            };
            tokio::join!(sending, building);
        }))
}

/// Until there is nothing to send any more, or nobody to send it to.
async fn send_all(mut sink: SplitSink<WebSocket, Message>, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    // Nobody is left to tell if this fails.
    let _ = sink.close().await;
}

async fn tell(outbox: &Outbox, event: &BuildEvent) {
    let text = serde_json::to_string(event).expect("an event is plain data");
    // The client's going away is noticed where its messages are read.
    let _ = outbox.send(Message::text(text)).await;
}

struct Build {
    cloud: Arc<Cloud>,
    app: App,
    org: Org,
    by: By,
}

/// A build whose program holds its place in the builder.
struct Begun {
    machine: Machine,
    session: ExecSession,
    output: Output,
}

fn failed(reason: impl Into<String>) -> BuildEvent {
    BuildEvent::Failed(BuildFailure {
        reason: reason.into(),
        ..BuildFailure::default()
    })
}

impl Build {
    /// The last word for the client; `None` if it is gone. The build is called off when `refused` returns.
    async fn run(
        &self,
        mut stream: SplitStream<WebSocket>,
        outbox: &Outbox,
        refused: impl Future<Output = ApiError>,
    ) -> Option<BuildEvent> {
        let wanted = match first_message(&mut stream).await {
            Ok(wanted) => wanted,
            Err(problem) => return Some(failed(problem)),
        };
        let ticket = self
            .cloud
            .builds
            .tickets
            .issue(self.app.id, self.cloud.entropy.as_ref());
        let push = wanted.tag.clone().map(|tag| Push {
            repository: self.app.name.to_string(),
            tag,
        });
        let id: [u8; 8] = self.cloud.entropy.bytes();
        let id = id.map(|byte| format!("{byte:02x}")).concat();
        let order = match Order::new(
            &id,
            self.app.name.as_str(),
            &wanted,
            push.as_ref(),
            &ticket.secret,
        ) {
            Ok(order) => order,
            Err(refused) => return Some(failed(refused.to_string())),
        };
        let begun = tokio::select! {
            begun = self.begin(&order, outbox) => begun,
            () = gone(&mut stream) => return None,
        };
        let Begun {
            machine,
            session,
            output,
        } = match begun {
            Ok(begun) => begun,
            Err(error) => return Some(failed(report(&error))),
        };
        let builder = machine.id.to_string();
        tell(outbox, &BuildEvent::Ready { builder }).await;
        let input = session.input.clone();
        let mut follow = Follow {
            outbox,
            output,
            built: BuiltImage::default(),
            digest: None,
        };
        let mut produced = session.output;
        let exit = tokio::select! {
            refusal = carry_in(&mut stream, &session.input) => Err(refusal.map(failed)),
            exit = follow.carry_out(&mut produced) => Ok(exit),
            refused = refused => Err(Some(failed(refused.text()))),
            () = tokio::time::sleep(BUILD_MAX) => {
                Err(Some(failed(format!("the build took longer than {} hours", BUILD_MAX.as_secs() / 3600))))
            }
            () = self.cloud.stop.cancelled() => {
                Err(Some(failed("the control plane stops; build again in a moment")))
            }
        };
        match exit {
            Ok(exit) => Some(self.end(follow, exit, push.as_ref())),
            Err(last) => {
                call_off(&input, &mut produced).await;
                last
            }
        }
    }

    /// Wakes the builder and gives it the order, until the build holds its place there.
    async fn begin(&self, order: &Order, outbox: &Outbox) -> Result<Begun, BuilderError> {
        let mut last = String::new();
        for _ in 0..TRIES {
            let machine = {
                let (said, mut saying) = mpsc::unbounded_channel();
                let mut say = move |message: String| drop(said.send(message));
                let waking = async {
                    let machine = self.cloud.builder(&self.org, &self.by, &mut say).await;
                    drop(say);
                    machine
                };
                let telling = async {
                    while let Some(message) = saying.recv().await {
                        tell(outbox, &BuildEvent::Preparing { message }).await;
                    }
                };
                tokio::join!(waking, telling).0?
            };
            let host = self.cloud.host_of(&machine)?;
            match host.exec(machine.id, order.exec.clone()).await {
                Ok(session) => match take_place(session, order).await {
                    Ok((session, output)) => {
                        return Ok(Begun {
                            machine,
                            session,
                            output,
                        });
                    }
                    Err(why) => last = why,
                },
                Err(error) => last = report(&error),
            }
            tokio::time::sleep(TRY_PAUSE).await;
        }
        Err(BuilderError::NotStarted(format!("takes no build: {last}")))
    }

    fn end(&self, follow: Follow<'_>, exit: ExecExit, push: Option<&Push>) -> BuildEvent {
        match exit {
            ExecExit::Exited { code: 0 } => {}
            ExecExit::Exited { code } => return BuildEvent::Failed(follow.output.failure(code)),
            ExecExit::Signaled { signal } => {
                return failed(format!(
                    "the builder's program was ended by signal {signal}"
                ));
            }
            ExecExit::Failed { reason } => return failed(reason),
            ExecExit::Lost => return failed("the builder machine went away during the build"),
        }
        let mut built = follow.built;
        if let (Some(push), Some(digest)) = (push, follow.digest) {
            let registry = self.cloud.settings.registry_names.first();
            let registry = registry.map_or("localhost", String::as_str);
            built.image = format!("{registry}/{}:{}@{digest}", push.repository, push.tag);
        }
        BuildEvent::Done(built)
    }
}

async fn first_message(stream: &mut SplitStream<WebSocket>) -> Result<StartBuild, String> {
    let first = tokio::time::timeout(FIRST_MESSAGE_MAX, stream.next()).await;
    let Ok(Some(Ok(Message::Text(text)))) = first else {
        return Err("the first message must be a text that says what to build".to_owned());
    };
    read(text.as_bytes()).map_err(|error| error.to_string())
}

/// Returns when the client is gone; before the builder is ready it has nothing to say.
async fn gone(stream: &mut SplitStream<WebSocket>) {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Close(_) = message {
            return;
        }
    }
}

/// Hands the order over and waits until the build's program holds its place, or says why not.
async fn take_place(
    mut session: ExecSession,
    order: &Order,
) -> Result<(ExecSession, Output), String> {
    let preamble = Bytes::copy_from_slice(&order.preamble);
    // A program that has ended takes no input; how it ended is said below.
    let _ = session.input.send(ExecInput::Stdin(preamble)).await;
    let mut output = Output::default();
    let mut said = String::new();
    loop {
        match session.output.recv().await {
            Some(ExecOutput::Stdout(bytes)) => {
                if output.said(&bytes).contains(&Finding::Started) {
                    return Ok((session, output));
                }
            }
            Some(ExecOutput::Stderr(bytes)) => said.push_str(&String::from_utf8_lossy(&bytes)),
            Some(ExecOutput::Exit(ExecExit::Exited {
                code: ABOUT_TO_STOP,
            })) => {
                return Err("it is about to stop".to_owned());
            }
            Some(ExecOutput::Exit(exit)) => return Err(format!("{exit:?} {}", said.trim())),
            None => return Err("it went away".to_owned()),
        }
    }
}

/// Carries the context in; ends when the client is gone, or with what was wrong about a message.
async fn carry_in(
    stream: &mut SplitStream<WebSocket>,
    input: &mpsc::Sender<ExecInput>,
) -> Option<String> {
    let (mut length, mut ended) = (0_u64, false);
    while let Some(Ok(message)) = stream.next().await {
        let next = match message {
            Message::Binary(_) if ended => {
                return Some("the context has ended already".to_owned());
            }
            Message::Binary(bytes) if bytes.is_empty() => {
                ended = true;
                ExecInput::StdinEnd
            }
            Message::Binary(bytes) => {
                length += bytes.len() as u64;
                if length > CONTEXT_MAX {
                    return Some(format!("the context is longer than {CONTEXT_MAX} bytes"));
                }
                ExecInput::Stdin(bytes)
            }
            Message::Text(_) => return Some("only the first message is a text".to_owned()),
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return None,
        };
        if input.send(next).await.is_err() {
            // The program has ended; the other direction is about to say how.
            std::future::pending::<()>().await;
        }
    }
    None
}

struct Follow<'a> {
    outbox: &'a Outbox,
    output: Output,
    built: BuiltImage,
    digest: Option<String>,
}

impl Follow<'_> {
    async fn carry_out(&mut self, produced: &mut mpsc::Receiver<ExecOutput>) -> ExecExit {
        loop {
            match produced.recv().await {
                Some(ExecOutput::Stderr(bytes)) => {
                    self.output.log(&bytes);
                    let _ = self.outbox.send(Message::Binary(bytes)).await;
                }
                Some(ExecOutput::Stdout(bytes)) => {
                    for finding in self.output.said(&bytes) {
                        match finding {
                            Finding::Built { id, size } => {
                                (self.built.id, self.built.size) = (id, size);
                            }
                            Finding::Pushed(digest) => self.digest = Some(digest),
                            Finding::Started | Finding::Context => {}
                        }
                    }
                }
                Some(ExecOutput::Exit(exit)) => return exit,
                None => return ExecExit::Lost,
            }
        }
    }
}

/// Asks the build to end and waits for it; dropping the session ends what does not listen.
async fn call_off(input: &mpsc::Sender<ExecInput>, produced: &mut mpsc::Receiver<ExecOutput>) {
    let end = async {
        let _ = input.send(ExecInput::Signal(Signal::TERM)).await;
        while let Some(output) = produced.recv().await {
            if matches!(output, ExecOutput::Exit(_)) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(CANCEL_PATIENCE, end).await;
}
