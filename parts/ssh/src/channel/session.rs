//! A program on a channel.

use mayfly_host_api::{ExecExit, ExecInput, ExecOutput, ExecRequest};
use mayfly_runtime::report;
use tokio::sync::mpsc;

use super::{Input, Peer, Program, Taken};
use crate::guest::Guest;
use crate::sign_in::SignedIn;
use crate::window::ReceiveWindow;

/// As shells say of a command that could not be run.
const NOT_RUN: i32 = 127;

/// Runs the program to its end, or until the client closes the channel.
pub(crate) async fn run(
    program: Program,
    guest: &dyn Guest,
    signed_in: &SignedIn,
    peer: &Peer,
    inputs: mpsc::UnboundedReceiver<Input>,
    received: &ReceiveWindow,
) {
    let SignedIn { user, certificate } = signed_in;
    guest.session_began(certificate, user, program.what).await;
    let request = ExecRequest {
        argv: program.argv,
        env: program.env,
        user: Some(user.clone()),
        cwd: None,
        tty: program.tty,
        container: program.container,
    };
    match guest.exec(request).await {
        Err(error) => {
            say(peer, &report(&error)).await;
            peer.exit_code(NOT_RUN).await;
        }
        Ok(session) => {
            let (input, output) = (session.input, session.output);
            tokio::select! {
                () = feed(inputs, input, Taken::of(peer, received)) => {}
                () = tell(output, peer) => {}
            }
        }
    }
    peer.eof().await;
    peer.send_close().await;
}

/// Returns when the client has closed the channel.
async fn feed(
    mut inputs: mpsc::UnboundedReceiver<Input>,
    program: mpsc::Sender<ExecInput>,
    mut taken: Taken<'_>,
) {
    while let Some(input) = inputs.recv().await {
        let (next, bytes) = match input {
            Input::Data(data) => {
                let length = data.len();
                (ExecInput::Stdin(data), length)
            }
            Input::End => (ExecInput::StdinEnd, 0),
            Input::Resize(terminal) => (ExecInput::Resize(terminal), 0),
            Input::Signal(signal) => (ExecInput::Signal(signal), 0),
        };
        // A program that takes no more is about to say how it ended.
        let _ = program.send(next).await;
        taken.add(bytes).await;
    }
}

/// Returns when the program has ended and the client was told how.
async fn tell(mut output: mpsc::Receiver<ExecOutput>, peer: &Peer) {
    loop {
        match output
            .recv()
            .await
            .unwrap_or(ExecOutput::Exit(ExecExit::Lost))
        {
            ExecOutput::Stdout(bytes) => peer.data(&bytes).await,
            ExecOutput::Stderr(bytes) => peer.stderr(&bytes).await,
            ExecOutput::Exit(ExecExit::Exited { code }) => return peer.exit_code(code).await,
            ExecOutput::Exit(ExecExit::Signaled { signal }) => {
                return peer.exit_signal(signal).await;
            }
            ExecOutput::Exit(ExecExit::Failed { reason }) => {
                say(peer, &reason).await;
                return peer.exit_code(NOT_RUN).await;
            }
            // Without a status the client reports a failure of the connection, which this is.
            ExecOutput::Exit(ExecExit::Lost) => {
                return say(peer, "the machine went away before the command ended").await;
            }
        }
    }
}

async fn say(peer: &Peer, text: &str) {
    peer.stderr(format!("{text}\r\n").as_bytes()).await;
}
