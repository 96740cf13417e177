use std::process::ExitCode;

use clap::Args;
use mayfly_wire::ScaleConcurrency;
use serde_json::json;

use crate::commands::deploy::follow_recorded;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;

/// The limits become part of the app's configuration, as a release.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  scale concurrency soft=200 hard=250\n  scale concurrency soft=20 type=requests -g web"
)]
pub(crate) struct Concurrency {
    /// soft=N, hard=N (0: no limit) and type=connections or type=requests; what is left out stays
    #[arg(value_name = "LIMIT=VALUE", required = true)]
    limits: Vec<String>,
    #[command(flatten)]
    app: AppFlags,
    /// Only the services of this process group
    #[arg(short = 'g', long, value_name = "NAME", alias = "group")]
    process_group: Option<String>,
    /// Return once the change is recorded
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Concurrency {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let app = self.app.require()?;
        let wanted = self.wanted()?;
        let release = context.api()?.scale_concurrency(&app, &wanted).await?;
        if self.json.json {
            context.out.json(&json!(release))?;
            return Ok(ExitCode::SUCCESS);
        }
        let version = release.version;
        context
            .out
            .line(&format!("{} is release v{version}", release.description))?;
        let end = follow_recorded(context, &app, &release, self.detach).await?;
        if end != ExitCode::SUCCESS {
            return Ok(end);
        }
        context
            .out
            .note("To keep it with the next deployment, write into fly.toml, below each service's `concurrency`:");
        let pairs = [
            (
                "soft_limit",
                wanted.soft_limit.map(|limit| limit.to_string()),
            ),
            (
                "hard_limit",
                wanted.hard_limit.map(|limit| limit.to_string()),
            ),
            ("type", wanted.limit_type.map(|kind| format!("\"{kind}\""))),
        ];
        for (key, value) in pairs {
            if let Some(value) = value {
                context.out.note(&format!("  {key} = {value}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn wanted(&self) -> anyhow::Result<ScaleConcurrency> {
        let mut wanted = ScaleConcurrency {
            process_group: self.process_group.clone(),
            ..ScaleConcurrency::default()
        };
        for pair in &self.limits {
            let number = |text: &str| -> anyhow::Result<Option<i64>> {
                let wrong = || Failure::new(format!("'{pair}': must be a number"));
                Ok(Some(text.parse().map_err(|_| wrong())?))
            };
            match pair.split_once('=') {
                Some(("soft", limit)) => wanted.soft_limit = number(limit)?,
                Some(("hard", limit)) => wanted.hard_limit = number(limit)?,
                Some(("type", kind)) => wanted.limit_type = Some(kind.to_owned()),
                _ => {
                    return Err(Failure::new(format!(
                        "'{pair}' is no limit: use soft=N, hard=N or type=connections|requests"
                    ))
                    .remedy("As in `scale concurrency soft=200 hard=250`.")
                    .into());
                }
            }
        }
        Ok(wanted)
    }
}
