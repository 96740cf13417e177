//! Requests over a machine's control socket, and the streams of an exec.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use mayfly_guest::{CONTROL_SOCKET, ExecOutcome, ExecStart, Frame, Reply, Request, Window};
use mayfly_host_api::{ExecExit, ExecInput, ExecOutput, ExecRequest, ExecSession, Terminal};
use mayfly_runtime::{Stop, TaskSet};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// Messages that may wait in either direction of an exec: enough to keep both sides busy, little enough that a slow
/// reader is felt by the program and not by our memory.
const QUEUE_DEPTH: usize = 16;
/// Input is cut into frames of at most this, so that a signal or resize does not wait behind a megabyte.
const STDIN_CHUNK: usize = 64 * 1024;
/// How long a monitor may take for anything that is not an exec.
const REPLY_PATIENCE: Duration = Duration::from_secs(10);

/// Asks the monitor of a run directory one thing.
pub(crate) async fn ask(run_dir: &Path, request: &Request) -> io::Result<Reply> {
    let asked = async {
        let mut stream = connect(run_dir).await?;
        send_json(&mut stream, Frame::Request, request).await?;
        match receive(&mut stream).await? {
            Some((Frame::Reply, payload)) => Ok(serde_json::from_slice(&payload)?),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    tokio::time::timeout(REPLY_PATIENCE, asked).await?
}

/// Starts a program; the session's streams are served by two tasks that end with it.
pub(crate) async fn exec(
    run_dir: &Path,
    request: ExecRequest,
    tasks: &TaskSet,
) -> io::Result<ExecSession> {
    let stream = connect(run_dir).await?;
    let (reader, mut writer) = stream.into_split();
    let start = Request::Exec(ExecStart {
        argv: request.argv,
        env: request.env,
        user: request.user,
        cwd: request.cwd,
        tty: request.tty.map(window),
        container: request.container,
    });
    send_json(&mut writer, Frame::Request, &start).await?;
    let (input, typed) = mpsc::channel(QUEUE_DEPTH);
    let (told, output) = mpsc::channel(QUEUE_DEPTH);
    let ended = Stop::new();
    let over = ended.clone();
    tasks
        .spawn_guarded("exec.output", move |stop| async move {
            let _over = over.drop_guard();
            tokio::select! {
                () = forward_output(reader, told) => {}
                () = stop.cancelled() => {}
            }
        })
        .await;
    tasks
        .spawn_guarded("exec.input", move |_| async move {
            tokio::select! {
                // Whoever closed it, the other end of the connection says so to the task above.
                _ = forward_input(&mut writer, typed) => ended.cancelled().await,
                () = ended.cancelled() => {}
            }
        })
        .await;
    Ok(ExecSession { input, output })
}

async fn forward_output(mut reader: OwnedReadHalf, told: mpsc::Sender<ExecOutput>) {
    loop {
        let output = match receive(&mut reader).await {
            Ok(Some((Frame::Stdout, payload))) => ExecOutput::Stdout(payload),
            Ok(Some((Frame::Stderr, payload))) => ExecOutput::Stderr(payload),
            Ok(Some((Frame::Outcome, payload))) => ExecOutput::Exit(outcome(&payload)),
            Ok(Some((Frame::Reply, payload))) => ExecOutput::Exit(refusal(&payload)),
            Ok(Some(_) | None) | Err(_) => ExecOutput::Exit(ExecExit::Lost),
        };
        let last = matches!(output, ExecOutput::Exit(_));
        // Nobody listens any more: the connection closes, and the monitor ends the program.
        if told.send(output).await.is_err() || last {
            return;
        }
    }
}

fn outcome(payload: &[u8]) -> ExecExit {
    match serde_json::from_slice(payload) {
        Ok(ExecOutcome::Exited { code }) => ExecExit::Exited { code },
        Ok(ExecOutcome::Signaled { signal }) => ExecExit::Signaled { signal },
        Ok(ExecOutcome::Failed { reason }) => ExecExit::Failed { reason },
        Err(_) => ExecExit::Lost,
    }
}

fn refusal(payload: &[u8]) -> ExecExit {
    match serde_json::from_slice(payload) {
        Ok(Reply::Refused { reason }) => ExecExit::Failed { reason },
        _ => ExecExit::Lost,
    }
}

async fn forward_input(
    writer: &mut OwnedWriteHalf,
    mut typed: mpsc::Receiver<ExecInput>,
) -> io::Result<()> {
    let mut open = true;
    while let Some(input) = typed.recv().await {
        match input {
            ExecInput::Stdin(bytes) if open => {
                for chunk in bytes.chunks(STDIN_CHUNK) {
                    send(writer, Frame::Stdin, chunk).await?;
                }
            }
            ExecInput::Stdin(_) => {}
            ExecInput::StdinEnd => {
                open = false;
                send(writer, Frame::StdinEnd, &[]).await?;
            }
            ExecInput::Resize(terminal) => {
                send_json(writer, Frame::Resize, &window(terminal)).await?;
            }
            ExecInput::Signal(signal) => {
                let number = u8::try_from(signal.number()).expect("signals are 1 to 31");
                send(writer, Frame::Signal, &[number]).await?;
            }
        }
    }
    if open {
        send(writer, Frame::StdinEnd, &[]).await?;
    }
    Ok(())
}

fn window(terminal: Terminal) -> Window {
    Window {
        rows: terminal.rows,
        columns: terminal.columns,
    }
}

/// Connects through the directory's descriptor: a socket's path may be no longer than 107 bytes, a data directory may.
async fn connect(run_dir: &Path) -> io::Result<UnixStream> {
    let directory = File::open(run_dir)?;
    let path = format!("/proc/self/fd/{}/{CONTROL_SOCKET}", directory.as_raw_fd());
    UnixStream::connect(path).await
}

async fn send_json(
    stream: &mut (impl AsyncWriteExt + Unpin),
    kind: Frame,
    value: &impl Serialize,
) -> io::Result<()> {
    send(stream, kind, &serde_json::to_vec(value)?).await
}

async fn send(
    stream: &mut (impl AsyncWriteExt + Unpin),
    kind: Frame,
    payload: &[u8],
) -> io::Result<()> {
    if payload.len() > mayfly_guest::FRAME_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the request is longer than 1 MiB",
        ));
    }
    let mut frame = Vec::with_capacity(5 + payload.len());
    frame.extend(kind.header(payload.len()));
    frame.extend(payload);
    stream.write_all(&frame).await
}

/// The next frame; `None` at the end of the stream.
async fn receive(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Option<(Frame, Bytes)>> {
    let mut header = [0; 5];
    match stream.read_exact(&mut header).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let (kind, length) = Frame::parse_header(header).ok_or(io::ErrorKind::InvalidData)?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(Some((kind, payload.into())))
}
