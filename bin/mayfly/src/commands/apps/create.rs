use std::fs::OpenOptions;
use std::io::{self, Write};

use anyhow::Context as _;
use clap::Args;

use super::ttl::lifetime;
use crate::client::CreateApp;
use crate::context::{Context, JsonFlag};
use crate::failure::Failure;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  apps create hello\n  apps create hello --org staging --save\n  apps create hello-pr-7 --ttl 7d"
)]
pub(crate) struct Create {
    /// Name of the app: lower-case letters, digits and dashes
    #[arg(value_name = "NAME")]
    app_name: Option<String>,
    /// Name of the app, as a flag
    #[arg(long)]
    name: Option<String>,
    /// Let the cloud choose a name
    #[arg(long)]
    generate_name: bool,
    /// Organization that owns the app
    #[arg(
        short,
        long,
        env = "FLY_ORG",
        hide_env = true,
        default_value = "personal",
        value_name = "SLUG"
    )]
    org: String,
    /// Put the app on a network of its own
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// How long the app lives, as 7d or 12h; it and its machines go by themselves then. `apps ttl` gives it more time
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    ttl: Option<String>,
    /// Write the name into a new fly.toml
    #[arg(long)]
    save: bool,
    /// Replace an existing fly.toml without asking
    #[arg(short, long)]
    yes: bool,
    /// Accepted for compatibility: every app runs on machines
    #[arg(long, hide = true)]
    machines: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = match (&self.app_name, &self.name) {
            (Some(one), Some(other)) if one != other => {
                return Err(
                    Failure::new(format!("two names were given: {one} and {other}")).into(),
                );
            }
            (Some(name), _) | (None, Some(name)) => Some(name.clone()),
            (None, None) if self.generate_name => None,
            (None, None) => {
                let name = context.out.ask(
                    "Name of the app (empty for a generated one):",
                    "NAME or --generate-name",
                )?;
                Some(name).filter(|name| !name.is_empty())
            }
        };
        let api = context.api()?;
        let request = CreateApp {
            name,
            org: self.org,
            network: self.network,
            ttl: self.ttl,
        };
        let app = api.create_app(&request).await?;
        if self.json.json {
            context.out.json(app.document())?;
        } else {
            context
                .out
                .line(&format!("New app created: {}", app.name()))?;
        }
        if self.save {
            save(context, app.name(), self.yes)?;
        }
        Ok(())
    }
}

/// Writes a fly.toml that names the app; an existing one is replaced only with consent.
fn save(context: &Context, app: &str, yes: bool) -> anyhow::Result<()> {
    const PATH: &str = "fly.toml";
    let fresh = OpenOptions::new().write(true).create_new(true).open(PATH);
    let mut file = match fresh {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !yes && !context.out.confirm("Replace the existing fly.toml?")? {
                return Ok(());
            }
            OpenOptions::new().write(true).truncate(true).open(PATH)
        }
        outcome => outcome,
    }
    .with_context(|| format!("write {PATH}"))?;
    writeln!(file, "app = {}", serde_json::Value::from(app))
        .with_context(|| format!("write {PATH}"))?;
    context.out.note("Wrote fly.toml");
    Ok(())
}
