//! Tokens that are good only with the word of another service: <https://fly.io/docs/security/tokens/>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use mayfly_access::{Randomness, discharge, header_of, tickets_without};

use super::Given;
use crate::context::Context;
use crate::failure::Failure;

#[derive(Subcommand, Debug)]
pub(crate) enum ThirdPartyCommand {
    /// Make the token depend on a service
    Add(Add),
    /// Print the ticket for a service, which discharges it
    Ticket(Ticket),
    /// As the service: make a discharge of a ticket
    Discharge(Discharge),
    /// Put a discharge beside the token
    AddDischarge(AddDischarge),
}

/// The service, and the key it shares with whoever makes tokens depend on it.
#[derive(Args, Debug)]
struct Service {
    /// URL that stands for the service
    #[arg(short, long, value_name = "URL")]
    location: String,
    /// The shared key: 32 bytes as base64
    #[arg(short, long, value_name = "BASE64")]
    secret: String,
}

#[derive(Args, Debug)]
pub(crate) struct Add {
    #[command(flatten)]
    service: Service,
}

#[derive(Args, Debug)]
pub(crate) struct Ticket {
    /// URL that stands for the service; needed if the token depends on several
    #[arg(short, long, value_name = "URL")]
    location: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Discharge {
    #[command(flatten)]
    service: Service,
    /// What `tokens 3p ticket` printed
    #[arg(long, value_name = "BASE64")]
    ticket: String,
}

#[derive(Args, Debug)]
pub(crate) struct AddDischarge {
    /// What `tokens 3p discharge` printed
    #[arg(long, value_name = "TOKEN")]
    discharge: String,
}

impl ThirdPartyCommand {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            ThirdPartyCommand::Add(command) => command.run(context),
            ThirdPartyCommand::Ticket(command) => command.run(context),
            ThirdPartyCommand::Discharge(command) => command.run(context),
            ThirdPartyCommand::AddDischarge(command) => command.run(context),
        }
    }
}

impl Service {
    fn key(&self) -> anyhow::Result<[u8; 32]> {
        let bytes = STANDARD.decode(self.secret.trim()).unwrap_or_default();
        Ok(bytes.try_into().map_err(|_| {
            Failure::new("--secret must be 32 bytes as base64")
                .remedy("Make one with `openssl rand -base64 32`.")
        })?)
    }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl Add {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let (mut given, key) = (Given::read(context)?, self.service.key()?);
        for token in &mut given.permissions {
            let random = Randomness {
                discharge_key: random()?,
                ticket_nonce: random()?,
                verifier_nonce: random()?,
            };
            token.add_third_party(&key, &self.service.location, &[], &random)?;
        }
        Ok(context.out.line(&header_of(given.all()))?)
    }
}

impl Ticket {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let given = Given::read(context)?;
        let open: Vec<_> = given
            .permissions
            .iter()
            .flat_map(|token| tickets_without(token, &given.discharges))
            .filter(|one| {
                self.location
                    .as_ref()
                    .is_none_or(|location| *location == one.location)
            })
            .collect();
        match open.as_slice() {
            [one] => Ok(context.out.line(&STANDARD.encode(&one.ticket))?),
            [] => Err(Failure::new("the token waits for no such service").into()),
            several => {
                let locations: Vec<_> = several.iter().map(|one| one.location.as_str()).collect();
                Err(Failure::new("the token waits for more than one service")
                    .remedy(format!(
                        "Name one with --location: {}.",
                        locations.join(", ")
                    ))
                    .into())
            }
        }
    }
}

impl Discharge {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let ticket = STANDARD
            .decode(self.ticket.trim())
            .map_err(|_| Failure::new("--ticket is not base64"))?;
        let (key, location) = (self.service.key()?, &self.service.location);
        let (_, made) = discharge(&key, location, &ticket, random()?)?;
        Ok(context.out.line(&header_of([&made]))?)
    }
}

impl AddDischarge {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut given = Given::read(context)?;
        for token in mayfly_access::presented_tokens(&self.discharge) {
            given.discharges.push(token.parse()?);
        }
        Ok(context.out.line(&header_of(given.all()))?)
    }
}
