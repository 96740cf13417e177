use std::process::ExitCode;

use clap::Args;

use super::version;
use crate::commands::deploy::follow;
use crate::context::{AppFlags, Context};

#[derive(Args, Debug)]
pub(super) struct Rollback {
    /// The release to go back to; the one before the newest without it
    #[arg(value_parser = version)]
    version: Option<i64>,
    #[command(flatten)]
    app: AppFlags,
    /// Leave secrets as they are now
    #[arg(long)]
    keep_secrets: bool,
    /// Return once the release is recorded
    #[arg(long)]
    detach: bool,
    /// Answer yes to all questions
    #[arg(short, long)]
    yes: bool,
}

impl Rollback {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let app = self.app.require()?;
        let api = context.api()?;
        let release = api.roll_back(&app, self.version, self.keep_secrets).await?;
        context.out.note(&format!(
            "Release v{} of {app} is recorded: {}",
            release.version, release.description
        ));
        if self.detach {
            context.out.line(&format!("v{}", release.version))?;
            return Ok(ExitCode::SUCCESS);
        }
        follow(
            context,
            &app,
            release.version,
            release.events_after.unwrap_or(0),
        )
        .await
    }
}
