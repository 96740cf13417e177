use clap::Args;
use mayfly_appconfig::{AppConfig, Format};

use super::remote;
use crate::context::{AppFlags, Context};
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// Show the file here instead of what the app's machines have
    #[arg(long)]
    local: bool,
    /// TOML output
    #[arg(long, conflicts_with = "yaml")]
    toml: bool,
    /// YAML output
    #[arg(long)]
    yaml: bool,
    #[command(flatten)]
    app: AppFlags,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let config: AppConfig = if self.local {
            let local = self.app.local_config()?.ok_or_else(no_file)?;
            local.valid()?.clone()
        } else {
            let app = self.app.require()?;
            remote::config(&context.api()?, &app).await?
        };
        if self.toml {
            return Ok(context.out.text(&config.to_text(Format::Toml))?);
        }
        if self.yaml {
            return Ok(context.out.text(&config.to_text(Format::Yaml))?);
        }
        Ok(context.out.json(&config.to_value())?)
    }
}

/// There is nothing to show or check.
pub(super) fn no_file() -> anyhow::Error {
    Failure::new("there is no fly.toml, fly.json or fly.yaml here")
        .remedy("Name the file with --config PATH.")
        .into()
}
