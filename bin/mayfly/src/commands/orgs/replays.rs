use clap::{Args, Subcommand};

use crate::client::ReplayGrants;
use crate::context::{Context, JsonFlag};

/// Which organizations' apps may replay requests to this one's.
#[derive(Subcommand, Debug)]
pub(crate) enum ReplaySourcesCommand {
    /// List the organizations that may replay requests to this one's apps
    #[command(alias = "ls")]
    List(Shown),
    /// Let apps of other organizations replay requests to this one's
    Add(Change),
    /// Take that back
    #[command(alias = "rm")]
    Remove(Change),
}

/// Whether an organization's networks may replay requests to each other.
#[derive(Subcommand, Debug)]
pub(crate) enum CrossNetworkReplaysCommand {
    /// Show whether they may
    Status(Shown),
    /// Let them
    Enable(Switch),
    /// Keep replays within a network
    Disable(Switch),
}

#[derive(Args, Debug)]
struct Target {
    /// Slug of the organization
    #[arg(
        short,
        long,
        env = "FLY_ORG",
        hide_env = true,
        default_value = "personal"
    )]
    org: String,
}

#[derive(Args, Debug)]
pub(crate) struct Shown {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Change {
    /// Slugs of the other organizations
    #[arg(required = true, value_name = "SLUG")]
    sources: Vec<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args, Debug)]
pub(crate) struct Switch {
    #[command(flatten)]
    target: Target,
    /// Accept all confirmations; there are none
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
}

impl ReplaySourcesCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        match self {
            ReplaySourcesCommand::List(Shown { target, json }) => {
                let grants = api.replay_grants(&target.org).await?;
                if json.json {
                    return Ok(context.out.json(&grants.sources().into())?);
                }
                list(context, &target.org, &grants)
            }
            ReplaySourcesCommand::Add(Change { sources, target }) => {
                for source in &sources {
                    api.add_replay_source(&target.org, source).await?;
                }
                list(context, &target.org, &api.replay_grants(&target.org).await?)
            }
            ReplaySourcesCommand::Remove(Change { sources, target }) => {
                for source in &sources {
                    api.remove_replay_source(&target.org, source).await?;
                }
                list(context, &target.org, &api.replay_grants(&target.org).await?)
            }
        }
    }
}

fn list(context: &Context, org: &str, grants: &ReplayGrants) -> anyhow::Result<()> {
    let sources = grants.sources();
    if sources.is_empty() {
        let line = format!("No other organization may replay requests to apps of {org}");
        return Ok(context.out.line(&line)?);
    }
    for source in sources {
        context.out.line(source)?;
    }
    Ok(())
}

impl CrossNetworkReplaysCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = match self {
            CrossNetworkReplaysCommand::Status(Shown { target, json }) => {
                if json.json {
                    let allowed = api.replay_grants(&target.org).await?.crosses_networks();
                    return Ok(context.out.json(&allowed.into())?);
                }
                target.org
            }
            // An organization that is its own source is what the cloud means by that.
            CrossNetworkReplaysCommand::Enable(Switch { target, .. }) => {
                api.add_replay_source(&target.org, &target.org).await?;
                target.org
            }
            CrossNetworkReplaysCommand::Disable(Switch { target, .. }) => {
                api.remove_replay_source(&target.org, &target.org).await?;
                target.org
            }
        };
        let allowed = api.replay_grants(&org).await?.crosses_networks();
        let word = if allowed { "enabled" } else { "disabled" };
        let line = format!("Replays between networks of {org} are {word}");
        Ok(context.out.line(&line)?)
    }
}
