use std::process::ExitCode;

use clap::Args;

use super::Reach;
use super::change::release;
use crate::context::Context;

/// The cloud itself knows which machines have which secrets; nothing is remembered here that could be out of date.
#[derive(Args, Debug)]
pub(crate) struct Sync {
    #[command(flatten)]
    reach: Reach,
}

impl Sync {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let app = self.reach.app.require()?;
        let secrets = context.api()?.app_secrets(&app).await?;
        let (version, behind) = (secrets.version, secrets.machines_behind);
        let out = &context.out;
        if behind == 0 {
            out.line(&format!(
                "All machines of {app} have the newest secrets (version {version})"
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        let machines = if behind == 1 {
            "machine has"
        } else {
            "machines have"
        };
        out.line(&format!(
            "{behind} {machines} older secrets than version {version}"
        ))?;
        if self.reach.stage {
            return Ok(ExitCode::SUCCESS);
        }
        release(context, &app, "Sync secrets", &self.reach.following).await
    }
}
