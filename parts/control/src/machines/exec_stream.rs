use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{
    Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use mayfly_control_store::{By, Machine};
use mayfly_host_api::{
    ExecExit, ExecInput, ExecOutput, ExecRequest, ExecSession, HostApi, Terminal,
};
use mayfly_runtime::report;
use mayfly_wire::{SignalName, read};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::warn;

use crate::access::{Lasting, MachineAccess};
use crate::cloud::Cloud;
use crate::error::ApiError;

/// How long a client may take to say what to run.
const FIRST_MESSAGE_MAX: Duration = Duration::from_secs(10);
const MESSAGE_MAX: usize = 1 << 20;

/// The first byte of every binary message.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// The client's first message.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Start {
    command: Vec<String>,
    env: BTreeMap<String, String>,
    user: Option<String>,
    cwd: Option<String>,
    container: Option<String>,
    tty: Option<Terminal>,
    /// A person's session rather than a program's: it is noted in the event log.
    session: Option<SessionKind>,
    /// The machine was made for this session and goes with it, whichever side ends it.
    destroy: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SessionKind {
    Shell,
    Exec,
    Sftp,
}

impl SessionKind {
    fn as_str(self) -> &'static str {
        match self {
            SessionKind::Shell => "shell",
            SessionKind::Exec => "exec",
            SessionKind::Sftp => "sftp",
        }
    }
}

/// Any later text message: one of its fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Control {
    resize: Option<Terminal>,
    stdin_end: Option<bool>,
    signal: Option<SignalName>,
}

/// `GET …/exec/stream`: runs a program with its input and output on a WebSocket.
///
/// Closing the connection ends the program, and so does the end of the caller's right to run it. The last message is
/// always `{"exit": …}`.
pub(crate) async fn exec_stream(
    State(cloud): State<Arc<Cloud>>,
    Lasting { access, standing }: Lasting<MachineAccess>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|error| ApiError::unreadable(error.body_text()))?;
    let host = cloud.host_of(&access.machine)?.clone();
    let by = access.caller.by(&cloud);
    Ok(upgrade
        .max_message_size(MESSAGE_MAX)
        .on_upgrade(move |socket| async move {
            let (mut sink, mut stream) = socket.split();
            let start = first_message(&mut stream).await;
            let start = start.and_then(|start| {
                let allowed = access.may_run(&start.command);
                let allowed = allowed.and_then(|()| match start.destroy {
                    true => access.may_destroy(),
                    false => Ok(()),
                });
                allowed
                    .map(|()| start)
                    .map_err(|error| error.text().to_owned())
            });
            let machine = access.machine;
            let destroy = start.as_ref().is_ok_and(|start| start.destroy);
            let command = start
                .as_ref()
                .map_or_else(|_| Vec::new(), |start| start.command.clone());
            let exit = match begin(start, &cloud, host.as_ref(), &machine, &by).await {
                Ok(session) => tokio::select! {
                    exit = run(&mut sink, &mut stream, session) => exit,
                    refused = standing.lost(|access| access.may_run(&command)) => {
                        Some(json!({ "error": refused.text() }))
                    }
                },
                Err(problem) => Some(json!({ "error": problem })),
            };
            if let Some(exit) = exit {
                let last = Message::text(json!({ "exit": exit }).to_string());
                // Nobody is left to tell if this fails.
                let _ = sink.send(last).await;
            }
            let _ = sink.close().await;
            if destroy && cloud.destroy_machine(&machine, true, &by).await.is_err() {
                warn!(machine_id = %machine.id, "a machine that was made for a session stays");
            }
        }))
}

async fn first_message(stream: &mut SplitStream<WebSocket>) -> Result<Start, String> {
    let first = tokio::time::timeout(FIRST_MESSAGE_MAX, stream.next()).await;
    let Ok(Some(Ok(Message::Text(text)))) = first else {
        return Err("the first message must be a text that says what to run".to_owned());
    };
    let start: Start = read(text.as_bytes()).map_err(|error| error.to_string())?;
    if start.command.is_empty() {
        return Err("command is required: the program and its arguments".to_owned());
    }
    Ok(start)
}

async fn begin(
    start: Result<Start, String>,
    cloud: &Cloud,
    host: &dyn HostApi,
    machine: &Machine,
    by: &By,
) -> Result<ExecSession, String> {
    let start = start?;
    if let Some(kind) = start.session {
        let user = start.user.clone().unwrap_or_default();
        let noted = cloud
            .store
            .session_began(machine.id, user, kind.as_str(), by.clone());
        // What is not on record does not happen.
        noted.await.map_err(|error| report(&error))?;
    }
    let request = ExecRequest {
        argv: start.command,
        env: start.env,
        user: start.user,
        cwd: start.cwd,
        tty: start.tty,
        container: start.container,
    };
    host.exec(machine.id, request)
        .await
        .map_err(|error| report(&error))
}

/// Carries both directions until the program has ended (its exit) or the client is gone (`None`).
async fn run(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    session: ExecSession,
) -> Option<Value> {
    tokio::select! {
        refusal = carry_in(stream, session.input) => refusal.map(|problem| json!({ "error": problem })),
        exit = carry_out(sink, session.output) => exit,
    }
}

/// Ends when the client is gone, or with what was wrong about a message.
async fn carry_in(
    stream: &mut SplitStream<WebSocket>,
    input: mpsc::Sender<ExecInput>,
) -> Option<String> {
    while let Some(Ok(message)) = stream.next().await {
        let next = match message {
            Message::Binary(bytes) if bytes.first() == Some(&STDIN) => {
                vec![ExecInput::Stdin(bytes.slice(1..))]
            }
            Message::Binary(_) => {
                return Some("binary messages must begin with a 0 byte".to_owned());
            }
            Message::Text(text) => match control(text.as_bytes()) {
                Ok(inputs) => inputs,
                Err(problem) => return Some(problem),
            },
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return None,
        };
        for one in next {
            if input.send(one).await.is_err() {
                // The program has ended; the other direction is about to say how.
                std::future::pending::<()>().await;
            }
        }
    }
    None
}

fn control(text: &[u8]) -> Result<Vec<ExecInput>, String> {
    let control: Control = read(text).map_err(|error| error.to_string())?;
    let mut inputs = Vec::new();
    inputs.extend(control.resize.map(ExecInput::Resize));
    if let Some(name) = control.signal {
        let signal = name.signal().map_err(|error| error.to_string())?;
        inputs.push(ExecInput::Signal(signal));
    }
    if control.stdin_end == Some(true) {
        inputs.push(ExecInput::StdinEnd);
    }
    Ok(inputs)
}

async fn carry_out(
    sink: &mut SplitSink<WebSocket, Message>,
    mut output: mpsc::Receiver<ExecOutput>,
) -> Option<Value> {
    loop {
        let (channel, bytes) = match output.recv().await {
            Some(ExecOutput::Stdout(bytes)) => (STDOUT, bytes),
            Some(ExecOutput::Stderr(bytes)) => (STDERR, bytes),
            Some(ExecOutput::Exit(exit)) => return Some(ended(exit)),
            None => return Some(ended(ExecExit::Lost)),
        };
        if sink.send(framed(channel, &bytes)).await.is_err() {
            return None;
        }
    }
}

fn framed(channel: u8, bytes: &Bytes) -> Message {
    let mut frame = BytesMut::with_capacity(bytes.len() + 1);
    frame.put_u8(channel);
    frame.extend_from_slice(bytes);
    Message::Binary(frame.freeze())
}

fn ended(exit: ExecExit) -> Value {
    match exit {
        ExecExit::Exited { code } => json!({ "code": code }),
        ExecExit::Signaled { signal } => json!({ "signal": signal }),
        ExecExit::Failed { reason } => json!({ "error": reason }),
        ExecExit::Lost => {
            json!({ "error": "the machine went away before the command ended" })
        }
    }
}
