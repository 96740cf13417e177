use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use mayfly_wire::CreateRelease;

use super::Reach;
use super::pairs::{lines, pair};
use crate::commands::deploy::follow;
use crate::context::{AppFlags, Context};
use crate::failure::Failure;

type Changes = BTreeMap<String, Option<String>>;

#[derive(Args, Debug)]
pub(crate) struct Set {
    /// NAME=VALUE; a value of - is read from stdin
    #[arg(required = true, value_name = "NAME=VALUE")]
    pairs: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args, Debug)]
pub(crate) struct Unset {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args, Debug)]
pub(crate) struct DeployStaged {
    #[command(flatten)]
    app: AppFlags,
    /// Return once the release is recorded
    #[arg(long)]
    detach: bool,
}

impl Set {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut changes = Changes::new();
        let mut read = false;
        for text in &self.pairs {
            let (name, value) = pair(text)?;
            let value = match value.as_str() {
                "-" if read => {
                    return Err(Failure::new("only one value can be read from stdin").into());
                }
                "-" => {
                    read = true;
                    let value = stdin()?;
                    // A file of one line ends with a line break that is no part of the value.
                    value
                        .strip_suffix('\n')
                        .map_or(value.clone(), str::to_owned)
                }
                _ => value,
            };
            changes.insert(name, Some(value));
        }
        self.reach.apply(context, changes).await
    }
}

impl Import {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if context.out.can_ask() {
            context
                .out
                .note("Reading NAME=VALUE lines; end with Ctrl-D.");
        }
        let pairs = lines(&stdin()?)?;
        if pairs.is_empty() {
            return Err(Failure::new("there were no secrets on stdin")
                .remedy("Send lines NAME=VALUE, as in `secrets import < .env`.")
                .into());
        }
        let changes = pairs
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect();
        self.reach.apply(context, changes).await
    }
}

impl Unset {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let app = self.reach.app.require()?;
        let known = context.api()?.app_secrets(&app).await?.secrets;
        for name in &self.names {
            if known.iter().any(|secret| secret.name == *name) {
                continue;
            }
            let names: Vec<&str> = known.iter().map(|secret| secret.name.as_str()).collect();
            let remedy = match names.is_empty() {
                true => "The app has no secrets.".to_owned(),
                false => format!("The app's secrets are {}.", names.join(", ")),
            };
            return Err(Failure::new(format!("app {app} has no secret {name}"))
                .remedy(remedy)
                .into());
        }
        let changes = self.names.iter().map(|name| (name.clone(), None)).collect();
        self.reach.apply(context, changes).await
    }
}

impl DeployStaged {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let app = self.app.require()?;
        release(context, &app, "Deploy secrets", self.detach).await
    }
}

impl Reach {
    async fn apply(self, context: &Context, changes: Changes) -> anyhow::Result<ExitCode> {
        let app = self.app.require()?;
        let api = context.api()?;
        let names: Vec<String> = changes.keys().cloned().collect();
        let unset = changes.values().all(Option::is_none);
        let before = api.app_secrets(&app).await?.version;
        let set = api.change_secrets(&app, changes).await?;
        if set.version == before {
            context.out.line("Nothing changed")?;
            return Ok(ExitCode::SUCCESS);
        }
        let machines = api.machines(&app, false).await?;
        if self.stage || machines.is_empty() {
            context.out.line(&format!(
                "Secrets are staged (version {}); the next deploy or `secrets deploy` gives them to machines",
                set.version
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        let verb = if unset { "Unset" } else { "Set" };
        let what = format!("{verb} secrets {}", names.join(", "));
        let what: String = what.chars().take(200).collect();
        release(context, &app, &what, self.detach).await
    }
}

/// Restarts an app's machines with its newest secrets, everything else as it is.
async fn release(
    context: &Context,
    app: &str,
    description: &str,
    detach: bool,
) -> anyhow::Result<ExitCode> {
    let api = context.api()?;
    let wanted = CreateRelease {
        keep_config: Some(true),
        skip_release_command: Some(true),
        description: Some(description.to_owned()),
        ..CreateRelease::default()
    };
    let release = api.create_release(app, &wanted).await?;
    if detach {
        context.out.line(&format!("v{}", release.version))?;
        return Ok(ExitCode::SUCCESS);
    }
    follow(
        context,
        app,
        release.version,
        release.events_after.unwrap_or(0),
    )
    .await
}

fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("read stdin")?;
    Ok(text)
}
