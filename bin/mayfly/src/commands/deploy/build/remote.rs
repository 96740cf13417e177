//! A build in the organization's builder machine.

use std::io::{self, Write};

use mayfly_wire::{BuildEvent, BuildFailure, StartBuild};

use super::Built;
use super::sources::Sources;
use crate::build_context::{Packing, Summary};
use crate::client::{BuildStream, ContextSink, FromBuild};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Output, Progress};

/// Builds there and shows how it goes. Ending this program calls the build off.
pub(super) async fn build(
    context: &Context,
    app: &str,
    sources: &Sources,
    order: &StartBuild,
) -> anyhow::Result<Built> {
    let rules = sources.rules()?;
    let api = context.api()?;
    let (sink, mut stream) = api.build(app, order).await?;
    let ready = get_ready(&mut stream, &context.out).await?;
    context
        .out
        .note(&format!("--> Sending the context to builder {ready}"));
    let packing = Packing::start(&sources.directory, rules);
    let sending = async {
        match send(sink, packing, &context.out).await {
            // How it ends is said by the other side.
            Ok(_sink) => std::future::pending().await,
            Err(error) => error,
        }
    };
    tokio::select! {
        built = follow(&mut stream) => built,
        error = sending => Err(error),
    }
}

async fn get_ready(stream: &mut BuildStream, out: &Output) -> anyhow::Result<String> {
    let mut progress = Progress::start(out, "Waiting for a builder");
    loop {
        match stream.next().await? {
            FromBuild::Event(BuildEvent::Preparing { message }) => progress.say(&message),
            FromBuild::Event(BuildEvent::Ready { builder }) => return Ok(builder),
            FromBuild::Event(BuildEvent::Failed(failure)) => return Err(refusal(&failure)),
            FromBuild::Lost => return Err(lost()),
            FromBuild::Event(BuildEvent::Done(_)) | FromBuild::Log(_) => {}
        }
    }
}

/// Sends everything. The sink comes back: closing it would call the build off.
async fn send(
    mut sink: ContextSink,
    mut packing: Packing,
    out: &Output,
) -> anyhow::Result<ContextSink> {
    while let Some(piece) = packing.pieces.recv().await {
        sink.send(piece).await?;
    }
    let summary = packing.end()?;
    sink.end().await?;
    tell(&summary, out);
    Ok(sink)
}

fn tell(summary: &Summary, out: &Output) {
    let (files, size) = (summary.files, indicatif::HumanBytes(summary.bytes));
    out.note(&format!("--> Sent {files} files, {size}"));
    if !summary.doubtful.is_empty() {
        out.note(&format!(
            "Warning: the build context holds {}: files of this kind usually hold keys or passwords. Name them in \
             .dockerignore, and pass what steps need with --build-secret.",
            summary.doubtful.join(", ")
        ));
    }
}

async fn follow(stream: &mut BuildStream) -> anyhow::Result<Built> {
    loop {
        match stream.next().await? {
            FromBuild::Log(bytes) => {
                // Nobody reading the log is no reason to stop.
                let _ = io::stderr().lock().write_all(&bytes);
            }
            FromBuild::Event(BuildEvent::Done(built)) => {
                return Ok(Built {
                    image: Some(built.image).filter(|image| !image.is_empty()),
                    size: built.size,
                });
            }
            FromBuild::Event(BuildEvent::Failed(failure)) => return Err(refusal(&failure)),
            FromBuild::Event(_) => {}
            FromBuild::Lost => return Err(lost()),
        }
    }
}

fn refusal(failure: &BuildFailure) -> anyhow::Error {
    let text = match (&failure.step, failure.exit_code) {
        (Some(step), Some(code)) => {
            format!("the build failed at step {step}: it exited with code {code}")
        }
        (Some(step), None) => format!("the build failed at step {step}: {}", failure.reason),
        (None, _) => format!("the build failed: {}", failure.reason),
    };
    Failure::new(text).into()
}

fn lost() -> anyhow::Error {
    Failure::new("the connection to the cloud ended before the build did")
        .remedy(
            "The build was called off. Steps that were done are not done again: build once more.",
        )
        .into()
}
