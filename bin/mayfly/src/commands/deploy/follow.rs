use std::process::ExitCode;
use std::time::{Duration, Instant};

use mayfly_wire::Release;
use serde_json::Value;

use crate::client::EventFilter;
use crate::context::Context;
use crate::output::Progress;

/// Between two attempts to reach the cloud.
const EVERY: Duration = Duration::from_millis(300);

/// Between two pages of news at least.
const BREATH: Duration = Duration::from_millis(20);

/// How long one question waits for news, in seconds.
const WAIT: u64 = 5;

/// A release that nothing is before is begun by then.
const SOON: Duration = Duration::from_secs(1);

/// Events read at once.
const PAGE: usize = 200;

/// A cloud that cannot be reached for so long is given up; the deployment goes on without us.
const PATIENCE: Duration = Duration::from_secs(120);

/// Follows a release that was recorded just now; with `detach` nothing is waited for.
pub(crate) async fn follow_recorded(
    context: &Context,
    app: &str,
    release: &Release,
    detach: bool,
) -> anyhow::Result<ExitCode> {
    if detach {
        return Ok(ExitCode::SUCCESS);
    }
    let seen = release.events_after.unwrap_or_default();
    follow(context, app, release.version, seen).await
}

/// Shows what is done for a release, from the event after `seen` on, until its end. Succeeds if the release is live.
pub(crate) async fn follow(
    context: &Context,
    app: &str,
    version: i64,
    seen: u64,
) -> anyhow::Result<ExitCode> {
    let api = context.api()?;
    let mut filter = EventFilter {
        after: Some(seen),
        limit: Some(PAGE),
        app: Some(app.to_owned()),
        ..EventFilter::default()
    };
    let mut progress = Progress::start(&context.out, &format!("Deploying v{version}"));
    let mut silent = Duration::ZERO;
    let (begun, mut waits) = (Instant::now(), false);
    loop {
        // The release before its events: what it says at its end is then contained in them.
        let looked = async {
            let release = api.release(app, version).await?;
            let (events, next) = api.events(&filter).await?;
            Ok::<_, crate::client::ApiError>((release, events, next))
        };
        let (release, events, next) = match looked.await {
            Ok(looked) => {
                silent = Duration::ZERO;
                looked
            }
            Err(error) if error.is_transient() && silent < PATIENCE => {
                progress.say("Waiting for the cloud to answer; the deployment goes on");
                silent += EVERY;
                tokio::time::sleep(EVERY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if release.status == "queued" && !waits && begun.elapsed() > SOON {
            waits = true;
            progress.say("Waiting for the release before it");
        }
        for event in &events {
            if let Some(line) = line(event, version) {
                progress.say(&line);
            }
        }
        filter.after = next.or(filter.after);
        // One that is at its end still gets the rest of its events told.
        match release.finished_at.is_some() {
            true if events.len() < PAGE => {
                drop(progress);
                return end(context, app, &release);
            }
            true => filter.wait = None,
            false => filter.wait = Some(WAIT),
        }
        tokio::time::sleep(BREATH).await;
    }
}

/// What an event says about the release, if it says anything.
fn line(event: &Value, version: i64) -> Option<String> {
    let after = event.get("after")?;
    if after.get("version")?.as_i64()? != version {
        return None;
    }
    match event.get("kind")?.as_str()? {
        "release.step" => after.get("message")?.as_str().map(str::to_owned),
        "release.stage" => Some(
            match after.get("stage")?.as_str()? {
                "release_command" => "Release command",
                "canary" => "Trying a canary",
                "switch" => "Moving traffic to the new machines",
                _ => "Bringing machines to the release",
            }
            .to_owned(),
        ),
        _ => None,
    }
}

fn end(context: &Context, app: &str, release: &Release) -> anyhow::Result<ExitCode> {
    let version = release.version;
    if release.status == "complete" {
        context.out.line(&format!("v{version} of {app} is live"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let why = release.failure.as_deref().unwrap_or("nobody said why");
    context.out.note(&format!(
        "Error: release v{version} is {}: {why}",
        release.status
    ));
    if release.status == "failed" {
        let config = release.config.as_ref();
        let goes_back = config.and_then(|config| config.pointer("/experimental/auto_rollback"));
        context.out.note(match goes_back == Some(&Value::Bool(true)) {
            true => "\nThe release before is deployed again, as the configuration asks for (auto_rollback): follow it with `deploy attach`.",
            false => "\nMachines it did not reach still run what they ran. Go back with `releases rollback`, or deploy again.",
        });
    }
    Ok(ExitCode::FAILURE)
}
