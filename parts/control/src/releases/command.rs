//! The release command: a machine of its own that must end well before any other machine changes.

use std::sync::Arc;

use mayfly_control_store::{App, Machine, MachineFilter, Release};

use super::content::{Content, GROUP, RELEASE_ID, written};
use super::error::StepError;
use super::make::Made;
use super::one_off::{Outcome, outcome};
use super::options::Options;
use crate::cloud::Cloud;

/// Starts the release command if it was not started, and says how it stands.
pub(super) async fn look(
    cloud: &Arc<Cloud>,
    app: &App,
    release: &Release,
    content: &Content<'_>,
    options: &Options,
) -> Result<Outcome, StepError> {
    let Some(machine) = machine_of(cloud, app, release).await? else {
        let machines = cloud.machines_of(app, false).await?;
        let Some(config) = content.command(&machines)? else {
            return Ok(Outcome::Done);
        };
        cloud.note(release, "Running the release command").await?;
        let key = "release-command".to_owned();
        let region = cloud.region_of(content, None)?;
        cloud
            .make(app, release, written(&config), key, Made::open(region))
            .await?;
        return Ok(Outcome::Running);
    };
    let timeout = options.release_command_timeout();
    outcome(cloud, &machine, "the release command", timeout).await
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
