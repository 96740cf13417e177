mod create;
mod list;
mod peer_file;
mod remove;
mod reset;
mod status;
mod token;
mod websockets;

use clap::Subcommand;

use crate::client::Api;
use crate::context::Context;

#[derive(Subcommand, Debug)]
pub(crate) enum WireguardCommand {
    /// Add a WireGuard peer: a device that reaches the private network
    Create(create::Create),
    /// List all WireGuard peers
    #[command(alias = "ls")]
    List(list::List),
    /// Remove a WireGuard peer; it is cut off at once
    Remove(remove::Remove),
    /// Give a WireGuard peer new keys and a new configuration
    Reset(reset::Reset),
    /// Show whether a WireGuard peer is connected
    Status(status::Status),
    /// Let programs add peers without an account
    #[command(subcommand, alias = "tokens")]
    Token(token::TokenCommand),
    /// Choose whether clients tunnel over WebSockets
    Websockets(websockets::Websockets),
}

impl WireguardCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            WireguardCommand::Create(command) => command.run(context).await,
            WireguardCommand::List(command) => command.run(context).await,
            WireguardCommand::Remove(command) => command.run(context).await,
            WireguardCommand::Reset(command) => command.run(context).await,
            WireguardCommand::Status(command) => command.run(context).await,
            WireguardCommand::Token(command) => command.run(context).await,
            WireguardCommand::Websockets(command) => command.run(context),
        }
    }
}

/// The peer named, or the one chosen.
async fn peer(
    context: &Context,
    api: &Api,
    org: &str,
    given: Option<String>,
) -> anyhow::Result<String> {
    if let Some(given) = given {
        return Ok(given);
    }
    let peers = api.wireguard_peers(org).await?;
    let names: Vec<String> = peers.iter().map(|peer| peer.name().to_owned()).collect();
    anyhow::ensure!(
        !names.is_empty(),
        "organization \"{org}\" has no WireGuard peers"
    );
    let chosen = context.out.choose("Peer", &names, "NAME")?;
    Ok(names[chosen].clone())
}
