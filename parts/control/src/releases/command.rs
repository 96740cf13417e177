//! The release command: a machine of its own that must end well before any other machine changes.

use std::sync::Arc;

use mayfly_control_store::{App, Machine, MachineFilter, Release};
use mayfly_host_api::LogQuery;
use mayfly_machine::MachineState;

use super::content::{Content, GROUP, RELEASE_ID, written};
use super::error::StepError;
use super::machines::crash;
use super::options::Options;
use crate::cloud::Cloud;

/// Lines of a failed command's output that its failure shows.
const LINES_SHOWN: usize = 10;

/// How the release command stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// There is none, or it ended well.
    Done,
    Running,
    Failed(String),
}

/// Starts the release command if it was not started, and says how it stands.
pub(super) async fn look(
    cloud: &Arc<Cloud>,
    app: &App,
    release: &Release,
    content: &Content<'_>,
    options: &Options,
) -> Result<Command, StepError> {
    let Some(machine) = machine_of(cloud, app, release).await? else {
        let machines = cloud.machines_of(app, false).await?;
        let Some(config) = content.command(&machines)? else {
            return Ok(Command::Done);
        };
        cloud.note(release, "Running the release command").await?;
        let key = "release-command".to_owned();
        let region = cloud.region_of(content, None)?;
        cloud
            .make(app, release, written(&config), key, region, false)
            .await?;
        return Ok(Command::Running);
    };
    let events = cloud
        .store
        .machine_events(machine.id, LINES_SHOWN as u32)
        .await?;
    let exit = events.iter().find_map(crash);
    match exit {
        Some(0) => return Ok(Command::Done),
        Some(code) => {
            let lines = last_lines(cloud, &machine).await;
            return Ok(Command::Failed(format!(
                "the release command exited with code {code}{lines}"
            )));
        }
        None => {}
    }
    let timeout = options.release_command_timeout();
    if matches!(
        machine.state,
        MachineState::Failed | MachineState::LaunchFailed
    ) {
        let why = machine.failure.clone().unwrap_or_default();
        return Ok(Command::Failed(format!(
            "the release command could not run: {why}"
        )));
    }
    if machine.destroyed_at.is_some() {
        return Ok(Command::Failed(
            "the release command's machine was destroyed".to_owned(),
        ));
    }
    if cloud.now().since(machine.created_at) < timeout {
        return Ok(Command::Running);
    }
    let lines = last_lines(cloud, &machine).await;
    cloud
        .destroy_machine(&machine, true, &cloud.by_platform())
        .await?;
    Ok(Command::Failed(format!(
        "the release command did not end within {} s{lines}",
        timeout.as_secs()
    )))
}

async fn machine_of(
    cloud: &Cloud,
    app: &App,
    release: &Release,
) -> Result<Option<Machine>, StepError> {
    let filter = MachineFilter {
        app: Some(app.id),
        include_deleted: true,
        ..MachineFilter::default()
    };
    let machines = cloud.store.machines(filter).await?;
    let is_it = |machine: &Machine| {
        let metadata = &machine.spec.metadata;
        metadata.get(RELEASE_ID).map(String::as_str) == Some(release.id.as_str())
            && metadata.get(GROUP).map(String::as_str) == Some("fly_app_release_command")
    };
    Ok(machines.into_iter().find(is_it))
}

/// The end of a machine's output, as lines of their own; empty if there is none to be had.
async fn last_lines(cloud: &Cloud, machine: &Machine) -> String {
    let Ok(host) = cloud.host_of(machine) else {
        return String::new();
    };
    let query = LogQuery {
        machines: vec![(machine.id, 0)],
        tail: Some(4 * LINES_SHOWN),
        limit: 4 * LINES_SHOWN,
        patience: std::time::Duration::ZERO,
    };
    let Ok(page) = host.logs(query).await else {
        return String::new();
    };
    let own = page.entries.iter().filter(|entry| entry.source == "app");
    let lines: Vec<&str> = own.map(|entry| entry.message.trim_end()).collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown.iter().map(|line| format!("\n  {line}")).collect()
}
