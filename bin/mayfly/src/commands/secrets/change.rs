use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use mayfly_wire::CreateRelease;

use super::pairs::{lines, pair};
use super::{Following, Reach};
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
    #[command(flatten)]
    following: Following,
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
                    if context.out.can_ask() {
                        let name = format!("Reading the value of {name}; end with Ctrl-D.");
                        context.out.note(&name);
                    }
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
        for line in pairs.iter().filter(|line| line.lost_comment) {
            context.out.note(&format!(
                "{}: what follows # is read as a comment; quote the value to keep it.",
                line.name
            ));
        }
        let changes = pairs
            .into_iter()
            .map(|line| (line.name, Some(line.value)))
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
        release(context, &app, "Deploy secrets", &self.following).await
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
        if set.version == before && (self.stage || set.machines_behind == 0) {
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
        release(context, &app, &what, &self.following).await
    }
}

/// Restarts an app's machines with its newest secrets, everything else as it is.
pub(super) async fn release(
    context: &Context,
    app: &str,
    description: &str,
    following: &Following,
) -> anyhow::Result<ExitCode> {
    let api = context.api()?;
    let machines = api.machines(app, false).await?;
    let by_hand = machines.iter().any(|machine| !machine.is_managed());
    let wanted = CreateRelease {
        keep_config: Some(true),
        all_machines: by_hand.then_some(true),
        skip_release_command: Some(true),
        description: Some(description.to_owned()),
        ..CreateRelease::default()
    };
    let release = api.create_release(app, &wanted).await?;
    if following.detach {
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

/// Everything on standard input. Errors never show any of it.
fn stdin() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .context("read stdin")?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::new("what stands on stdin is not text")
            .remedy("Machines get secrets as variables, which are text: set it as base64, and use [[files]] to have it decoded.")
            .into()
    })
}
