use std::io;

use mayfly_fleet_api::CallError;
use mayfly_host_api::{ExecExit, ExecInput, ExecOutput, ExecSession, HostError, Terminal};
use mayfly_machine::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::line::{Answer, DATA, DATA_ERR, END, Line, LineReader, LineWriter, PIECE_BYTES};

/// What goes into a session beside bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionInput {
    Resize(Terminal),
    Signal(Signal),
}

/// Says whether the session was opened and carries it to its end; a closed connection ends the program.
pub(super) async fn carry(
    opened: Result<ExecSession, HostError>,
    mut line: Line,
) -> io::Result<Option<Line>> {
    let session = match opened {
        Ok(session) => session,
        Err(error) => {
            let answer: Answer<()> = Err(CallError::from(error));
            line.writer.answer(&answer).await?;
            return Ok(Some(line));
        }
    };
    line.writer.answer(&Ok(())).await?;
    let Line { reader, writer } = line;
    tokio::select! {
        ended = take(reader, session.input) => ended?,
        ended = give(writer, session.output) => ended?,
    }
    Ok(None)
}

/// Returns when the other side is gone.
async fn take(mut reader: LineReader, input: mpsc::Sender<ExecInput>) -> io::Result<()> {
    while let Some(frame) = reader.next().await? {
        let piece = match frame.kind {
            DATA => ExecInput::Stdin(frame.bytes),
            END => ExecInput::StdinEnd,
            _ => match frame.message()? {
                SessionInput::Resize(terminal) => ExecInput::Resize(terminal),
                SessionInput::Signal(signal) => ExecInput::Signal(signal),
            },
        };
        // The program has ended; what it said is still on its way.
        if input.send(piece).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

async fn give(mut writer: LineWriter, mut output: mpsc::Receiver<ExecOutput>) -> io::Result<()> {
    loop {
        match output.recv().await {
            Some(ExecOutput::Stdout(bytes)) => pieces(&mut writer, DATA, &bytes).await?,
            Some(ExecOutput::Stderr(bytes)) => pieces(&mut writer, DATA_ERR, &bytes).await?,
            Some(ExecOutput::Exit(exit)) => return writer.end(&exit).await,
            None => return writer.end(&ExecExit::Lost).await,
        }
    }
}

async fn pieces(writer: &mut LineWriter, kind: u8, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(PIECE_BYTES) {
        writer.frame(kind, piece).await?;
    }
    Ok(())
}
