mod create;
mod delete;
mod list;
mod start;
mod update;

use clap::Subcommand;
use mayfly_types::Secret;

use crate::client::Api;
use crate::context::Context;
use crate::failure::Failure;

/// Holds the token of programs that add peers.
const TOKEN_VARIABLE: &str = "FLY_WIREGUARD_TOKEN";

#[derive(Subcommand, Debug)]
pub(crate) enum TokenCommand {
    /// Create a token with which a program adds peers; it is shown once
    Create(create::Create),
    /// List an organization's WireGuard tokens
    #[command(alias = "ls")]
    List(list::List),
    /// Delete a WireGuard token; peers that it added stay
    Delete(delete::Delete),
    /// Add a peer with the token in FLY_WIREGUARD_TOKEN
    Start(start::Start),
    /// Give a peer that the token in FLY_WIREGUARD_TOKEN added a new key
    Update(update::Update),
}

impl TokenCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            TokenCommand::Create(command) => command.run(context).await,
            TokenCommand::List(command) => command.run(context).await,
            TokenCommand::Delete(command) => command.run(context).await,
            TokenCommand::Start(command) => command.run(context).await,
            TokenCommand::Update(command) => command.run(context).await,
        }
    }
}

/// The cloud as the holder of a WireGuard token sees it.
fn delegate(context: &Context) -> anyhow::Result<Api> {
    let token = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
    let token = token.trim();
    if token.is_empty() {
        return Err(Failure::new(format!("{TOKEN_VARIABLE} is not set"))
            .remedy(format!(
                "Set it to a token of `{} wireguard token create`.",
                crate::program::name()
            ))
            .into());
    }
    context.api_of(Secret::new(token.to_owned()))
}

/// What of upstream's arguments is meant to be empty: `""` chooses the default.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn peer_name(context: &Context, given: Option<String>) -> anyhow::Result<String> {
    match given {
        Some(name) => Ok(name),
        None => context.out.ask("Name of the peer:", "NAME"),
    }
}
