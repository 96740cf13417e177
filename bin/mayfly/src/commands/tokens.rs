//! `tokens`: what CI, colleagues and programs get instead of one's own token.

mod attenuate;
mod create;
mod debug;
mod limits;
mod list;
mod revoke;
mod third_party;

use clap::Subcommand;
use mayfly_access::{Macaroon, PERMISSION_LOCATION, is_macaroon, presented_tokens};

use crate::context::Context;
use crate::failure::Failure;

#[derive(Subcommand, Debug)]
pub(crate) enum TokensCommand {
    /// Make a token
    #[command(subcommand)]
    Create(create::CreateCommand),
    /// Make a token that deploys one app: short for `tokens create deploy`
    Deploy(create::Deploy),
    /// List the tokens of an app or an organization
    #[command(alias = "ls")]
    List(list::List),
    /// Make tokens useless
    Revoke(revoke::Revoke),
    /// Narrow a token by caveats; the cloud is not asked
    Attenuate(attenuate::Attenuate),
    /// Show what a token says of itself, without its signature
    Debug(debug::Debug),
    /// Make a token depend on another service, and that service's answers
    #[command(name = "3p", subcommand)]
    ThirdParty(third_party::ThirdPartyCommand),
}

impl TokensCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            TokensCommand::Create(command) => command.run(context).await,
            TokensCommand::Deploy(command) => command.run(context).await,
            TokensCommand::List(command) => command.run(context).await,
            TokensCommand::Revoke(command) => command.run(context).await,
            TokensCommand::Attenuate(command) => command.run(context),
            TokensCommand::Debug(command) => command.run(context),
            TokensCommand::ThirdParty(command) => command.run(context),
        }
    }
}

/// The macaroons of `--access-token`, of the environment or of the config file.
struct Given {
    permissions: Vec<Macaroon>,
    discharges: Vec<Macaroon>,
}

impl Given {
    fn read(context: &Context) -> anyhow::Result<Given> {
        let token = context.token()?;
        let text = token.as_ref().map_or("", |token| token.reveal());
        let mut given = Given {
            permissions: Vec::new(),
            discharges: Vec::new(),
        };
        for token in presented_tokens(text).filter(|token| is_macaroon(token)) {
            let token: Macaroon = token.parse()?;
            match token.location == PERMISSION_LOCATION {
                true => given.permissions.push(token),
                false => given.discharges.push(token),
            }
        }
        if given.permissions.is_empty() {
            return Err(Failure::new("no token that can be read was given")
                .remedy(
                    "Give one that begins with \"FlyV1 fm2_\", such as `tokens create deploy` prints, with \
                     --access-token or in FLY_API_TOKEN.",
                )
                .into());
        }
        Ok(given)
    }

    fn all(&self) -> impl Iterator<Item = &Macaroon> {
        self.permissions.iter().chain(&self.discharges)
    }
}
