use mayfly_fleet_api::HostCall;
use mayfly_host_api::{ExecExit, ExecInput, ExecOutput, ExecSession, HostError};
use tokio::sync::mpsc;

use super::RemoteHost;
use crate::line::{DATA, DATA_ERR, END, Line, LineReader, LineWriter};
use crate::server::SessionInput;

/// Pieces on their way between the caller and the connection.
const QUEUE_DEPTH: usize = 16;

impl RemoteHost {
    /// A session whose bytes go over a connection of its own. Dropping it closes the connection, which ends the program.
    pub(super) async fn open_session(&self, call: HostCall) -> Result<ExecSession, HostError> {
        let opened = self.0.link.stream(&self.call(call)).await;
        let Line { reader, writer } = opened.map_err(|error| self.failed(error))?;
        let (input, to_send) = mpsc::channel(QUEUE_DEPTH);
        let (received, output) = mpsc::channel(QUEUE_DEPTH);
        self.0
            .sessions
            .spawn_guarded("fleet.session", |stop| async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = receive(reader, received.clone()) => {}
                    () = send(writer, to_send) => {}
                    // Nobody reads any more.
                    () = received.closed() => {}
                }
            })
            .await;
        Ok(ExecSession { input, output })
    }
}

async fn receive(mut reader: LineReader, output: mpsc::Sender<ExecOutput>) {
    loop {
        let piece = match reader.next().await {
            Ok(Some(frame)) => match frame.kind {
                DATA => ExecOutput::Stdout(frame.bytes),
                DATA_ERR => ExecOutput::Stderr(frame.bytes),
                END => ExecOutput::Exit(frame.message().unwrap_or(ExecExit::Lost)),
                _ => continue,
            },
            Ok(None) | Err(_) => ExecOutput::Exit(ExecExit::Lost),
        };
        let is_over = matches!(piece, ExecOutput::Exit(_));
        if output.send(piece).await.is_err() || is_over {
            return;
        }
    }
}

/// Ends only when the connection breaks: what the program says is still to be read.
async fn send(mut writer: LineWriter, mut input: mpsc::Receiver<ExecInput>) {
    while let Some(piece) = input.recv().await {
        let sent = match piece {
            ExecInput::Stdin(bytes) => writer.frame(DATA, &bytes).await,
            ExecInput::StdinEnd => writer.frame(END, &[]).await,
            ExecInput::Resize(terminal) => writer.message(&SessionInput::Resize(terminal)).await,
            ExecInput::Signal(signal) => writer.message(&SessionInput::Signal(signal)).await,
        };
        if sent.is_err() {
            break;
        }
    }
    std::future::pending().await
}
