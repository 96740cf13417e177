use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use mayfly_appconfig::{AppConfig, Format, edit};

use super::remote;
use crate::context::{AppFlags, Context, LocalConfig};

#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Write fly.json
    #[arg(long, conflicts_with = "yaml")]
    json: bool,
    /// Write fly.yaml
    #[arg(long)]
    yaml: bool,
    /// Replace an existing file without asking
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
    #[command(flatten)]
    app: AppFlags,
}

impl Save {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        // A file that is to be written need not be there.
        let named = AppFlags {
            app: self.app.app.clone(),
            config: self.app.config.clone().filter(|path| path.exists()),
        };
        let app = named.require()?;
        let mut config = remote::config(&context.api()?, &app).await?;
        let path = self.path();
        let existing = path
            .is_file()
            .then(|| LocalConfig::find(Path::new("."), Some(&path)))
            .transpose()?
            .flatten();
        if let Some(local) = &existing {
            let question = format!("Replace the settings in {}?", local.file());
            if !self.yes && !context.out.confirm(&question)? {
                return Ok(());
            }
            keep_local(&mut config, &local.reading.config);
        }
        let text = match &existing {
            // Comments and order stay where only values change.
            Some(local) if local.format == Format::Toml => edit(&local.text, &config),
            _ => config.to_text(Format::of(&path.to_string_lossy())),
        };
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        context.out.note(&format!("Wrote {}", path.display()));
        Ok(())
    }

    fn path(&self) -> PathBuf {
        let format = match (self.json, self.yaml) {
            (true, _) => Format::Json,
            (_, true) => Format::Yaml,
            _ => Format::Toml,
        };
        match &self.app.config {
            Some(directory) if directory.is_dir() => directory.join(format.file()),
            Some(file) => file.clone(),
            None => PathBuf::from(format.file()),
        }
    }
}

/// Keeps what machines do not tell: how the image is made and how deployments go.
fn keep_local(config: &mut AppConfig, local: &AppConfig) {
    config.build.clone_from(&local.build);
    config.deploy.clone_from(&local.deploy);
    config.console_command.clone_from(&local.console_command);
    config.machine_checks.clone_from(&local.machine_checks);
    config.regions.clone_from(&local.regions);
    if config.experimental.is_none() {
        config.experimental.clone_from(&local.experimental);
    }
}
