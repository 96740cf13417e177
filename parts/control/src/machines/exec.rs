use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use mayfly_host_api::{ExecExit, ExecInput, ExecOutput, ExecRequest, ExecSession};
use mayfly_wire::{ExecMachine, ExecResult, shell_split};

use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

/// Seconds a program may take; longer ones have the stream.
const TIMEOUT_MAX: i64 = 60;

/// Bytes of both outputs together.
const OUTPUT_MAX: usize = 8 << 20;

/// Bytes of input handed over at once.
const STDIN_PIECE: usize = 32 << 10;

/// `POST …/exec`: runs a program to its end and answers with what it said.
pub(crate) async fn exec(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<ExecMachine>,
) -> Result<Json<ExecResult>, ApiError> {
    let patience = patience(&request)?;
    let stdin = request.stdin.clone().unwrap_or_default();
    let container = request.container.clone().filter(|name| !name.is_empty());
    let argv = argv(request)?;
    access.may_run(&argv)?;
    let session = cloud
        .host_of(&access.machine)?
        .exec(
            access.machine.id,
            ExecRequest {
                argv,
                container,
                ..ExecRequest::default()
            },
        )
        .await?;
    match tokio::time::timeout(patience, collect(session, stdin)).await {
        Ok(result) => result.map(Json),
        // The session is dropped by now, which ended the program.
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "deadline_exceeded: the command did not end within {} s and was killed",
                patience.as_secs()
            ),
        )),
    }
}

fn patience(request: &ExecMachine) -> Result<Duration, ApiError> {
    match request.timeout {
        None | Some(0) => Ok(Duration::from_secs(TIMEOUT_MAX.unsigned_abs())),
        Some(seconds) if (1..=TIMEOUT_MAX).contains(&seconds) => {
            Ok(Duration::from_secs(seconds.unsigned_abs()))
        }
        Some(seconds) => Err(ApiError::invalid(format!(
            "timeout must be from 1 to {TIMEOUT_MAX} seconds, got {seconds}"
        ))),
    }
}

fn argv(request: ExecMachine) -> Result<Vec<String>, ApiError> {
    let cmd = request.cmd.filter(|cmd| !cmd.trim().is_empty());
    let argv = match (request.command.filter(|words| !words.is_empty()), cmd) {
        (Some(words), None) => words,
        (None, Some(line)) => shell_split(&line)
            .map_err(|error| ApiError::invalid(format!("cmd cannot be split: {error}")))?,
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("command and cmd cannot both be given"));
        }
        (None, None) => {
            return Err(ApiError::invalid(
                "command is required: the program and its arguments",
            ));
        }
    };
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(ApiError::invalid(
            "command must not contain a NUL character",
        ));
    }
    Ok(argv)
}

async fn collect(mut session: ExecSession, stdin: String) -> Result<ExecResult, ApiError> {
    let input = session.input;
    let feed = async {
        for piece in stdin.into_bytes().chunks(STDIN_PIECE) {
            if input
                .send(ExecInput::Stdin(piece.to_vec().into()))
                .await
                .is_err()
            {
                return;
            }
        }
        // A program that has ended takes no more; its exit is on the way.
        input.send(ExecInput::StdinEnd).await.ok();
        std::future::pending::<()>().await;
    };
    let gather = async {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(output) = session.output.recv().await {
            match output {
                ExecOutput::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                ExecOutput::Stderr(bytes) => stderr.extend_from_slice(&bytes),
                ExecOutput::Exit(exit) => return result(exit, &stdout, &stderr),
            }
            if stdout.len() + stderr.len() > OUTPUT_MAX {
                return Err(ApiError::invalid(format!(
                    "the command said more than {OUTPUT_MAX} bytes and was killed; use the stream for long output"
                )));
            }
        }
        result(ExecExit::Lost, &stdout, &stderr)
    };
    tokio::select! {
        () = feed => unreachable!("feeding waits for the exit"),
        result = gather => result,
    }
}

fn result(exit: ExecExit, stdout: &[u8], stderr: &[u8]) -> Result<ExecResult, ApiError> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let ended = |exit_code, exit_signal| ExecResult {
        exit_code,
        exit_signal,
        stdout: text(stdout),
        stderr: text(stderr),
    };
    match exit {
        ExecExit::Exited { code } => Ok(ended(code, 0)),
        // As shells report it.
        ExecExit::Signaled { signal } => Ok(ended(128 + signal, signal)),
        ExecExit::Failed { reason } => Err(ApiError::invalid(format!(
            "the command could not be run: {reason}"
        ))),
        ExecExit::Lost => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the machine went away before the command ended",
        )),
    }
}
