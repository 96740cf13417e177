//! A program in a machine with our terminal or pipes at its ends.

mod terminal;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::client::{ExecEnd, ExecStream, FromProgram};
use crate::failure::Failure;

pub(crate) use terminal::{RawTerminal, size};

/// Typed text is short; a pipe fills this while the connection is slower.
const INPUT_QUEUE_DEPTH: usize = 8;
const INPUT_BYTES: usize = 64 << 10;

/// What of ours a program is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// Our terminal, raw: every key goes to the program.
    Terminal,
    /// A terminal of its own there, while ours is none.
    Pseudo,
    /// Standard input as it comes.
    Input,
    /// No input at all.
    Nothing,
}

/// Carries everything until the program ends; its exit code becomes ours. The terminal is as before, however this ends.
pub(crate) async fn run(stream: ExecStream, attach: Attach) -> anyhow::Result<ExitCode> {
    let raw = (attach == Attach::Terminal)
        .then(RawTerminal::enter)
        .transpose()?;
    let end = converse(stream, attach).await;
    drop(raw);
    match end? {
        ExecEnd::Code(code) => Ok(exit_code_of(code)),
        // As shells report it.
        ExecEnd::Signal(signal) => Ok(exit_code_of(128 + signal)),
        ExecEnd::Error(error) => {
            Err(Failure::new(format!("the command could not run: {error}")).into())
        }
    }
}

pub(crate) fn exit_code_of(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).expect("masked to eight bits"))
}

/// Carries bytes, sizes and signals between us and the program until it ends.
async fn converse(mut stream: ExecStream, attach: Attach) -> anyhow::Result<ExecEnd> {
    let mut input = if attach == Attach::Nothing {
        stream.input_ended().await?;
        None
    } else {
        Some(stdin_pieces())
    };
    let mut resized = signal(SignalKind::window_change())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        let piece = next_piece(&mut input);
        tokio::select! {
            said = stream.next() => match said? {
                FromProgram::Stdout(bytes) => write_through(io::stdout().lock(), &bytes)?,
                FromProgram::Stderr(bytes) => write_through(io::stderr().lock(), &bytes)?,
                FromProgram::End(end) => return Ok(end),
            },
            piece = piece => match piece {
                Some(bytes) => stream.input(&bytes).await?,
                None => {
                    input = None;
                    stream.input_ended().await?;
                }
            },
            () = arrived(&mut resized), if attach == Attach::Terminal => {
                let (rows, columns) = size();
                stream.resize(rows, columns).await?;
            }
            () = arrived(&mut interrupted) => stream.signal("SIGINT").await?,
            () = arrived(&mut terminated) => stream.signal("SIGTERM").await?,
        }
    }
}

async fn arrived(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// The next piece of input; `None` at its end. Without input it never comes.
async fn next_piece(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(pieces) => pieces.recv().await,
        None => std::future::pending().await,
    }
}

fn write_through(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

/// Standard input as it comes. A read of a terminal cannot be taken back, so it has a thread of its own, which ends
/// with the process.
fn stdin_pieces() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(INPUT_QUEUE_DEPTH);
    std::thread::spawn(move || {
        let mut buffer = vec![0; INPUT_BYTES];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}
