use std::process::ExitCode;

use clap::Args;
use mayfly_wire::MoveApp;
use serde_json::json;

use crate::commands::deploy::{duration, follow_recorded};
use crate::context::{AppFlags, Context, JsonFlag};

/// Copies of all machines are made in the other organization's network. When they are up, the app changes hands, requests
/// go to them, and the old machines go. If one does not come up, everything stays where it is.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  apps move my-app --org staging\n  apps move my-app --org staging --skip-health-checks --yes"
)]
pub(crate) struct Move {
    /// Name of the app
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    app: AppFlags,
    /// The organization that gets the app
    #[arg(short, long, value_name = "SLUG")]
    org: String,
    /// Do not wait for the machines' checks
    #[arg(long)]
    skip_health_checks: bool,
    /// How long each machine may take to be up, as 2m or a number of seconds
    #[arg(long, value_name = "DURATION")]
    wait_timeout: Option<String>,
    /// Return once the move is recorded
    #[arg(long)]
    detach: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Move {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let name = match self.name {
            Some(name) => name,
            None => self.app.require()?,
        };
        if !self.yes {
            context.out.note(
                "All machines get new addresses in the other organization's private network: what reaches them by the old\n\
                 ones no longer does. What suspended machines have in memory is lost, and tokens for the app end.",
            );
            let question = format!("Move app {name} to organization {}?", self.org);
            if !context.out.confirm(&question)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let wanted = MoveApp {
            org_slug: Some(self.org),
            skip_health_checks: Some(self.skip_health_checks),
            wait_timeout: duration("--wait-timeout", self.wait_timeout.as_deref())?,
        };
        let release = context.api()?.move_app(&name, &wanted).await?;
        if self.json.json {
            context.out.json(&json!(release))?;
            return Ok(ExitCode::SUCCESS);
        }
        let version = release.version;
        context
            .out
            .line(&format!("{} is release v{version}", release.description))?;
        follow_recorded(context, &name, &release, self.detach).await
    }
}
