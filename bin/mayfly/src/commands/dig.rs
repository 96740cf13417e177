mod message;

use std::net::Ipv6Addr;

use anyhow::Context as _;
use clap::Args;

use crate::client::{Api, PrivateNetwork};
use crate::commands::private_flags::PrivateFlags;
use crate::context::Context;
use crate::failure::Failure;
use message::{Answer, TYPES, type_number};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dig web.internal\n  dig txt vms.web.internal --short\n  dig a example.com --app web"
)]
pub(crate) struct Dig {
    /// Record type, then name; a name alone is asked for AAAA
    #[arg(required = true, num_args = 1..=2, value_name = "[TYPE] NAME")]
    words: Vec<String>,
    #[command(flatten)]
    network: PrivateFlags,
    /// Print the answers only
    #[arg(short, long)]
    short: bool,
}

/// The first address of a name as machines of the network see it.
pub(super) async fn address_of(
    api: &Api,
    network: &PrivateNetwork,
    name: &str,
) -> anyhow::Result<Ipv6Addr> {
    let aaaa = type_number("AAAA").expect("the type is known");
    let answer = look_up(api, network, name, aaaa).await?;
    let mut found = answer.records.iter().filter(|record| record.kind == aaaa);
    let first = found.next().and_then(|record| record.data.parse().ok());
    first.ok_or_else(|| Failure::new(format!("{name} has no address in this network")).into())
}

async fn look_up(
    api: &Api,
    network: &PrivateNetwork,
    name: &str,
    kind: u16,
) -> anyhow::Result<Answer> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).context("ask the kernel for random bytes")?;
    let query = message::query(u16::from_be_bytes(id), name, kind)
        .ok_or_else(|| Failure::new(format!("{name} is no name")))?;
    let answer = api
        .dns(network, query)
        .await
        .with_context(|| format!("could not look {name} up"))?;
    let answer = Answer::read(&answer)
        .ok_or_else(|| Failure::new("the cloud's server of names answered nonsense"))?;
    Ok(answer)
}

impl Dig {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (kind, name) = match self.words.as_slice() {
            [name] => ("AAAA".to_owned(), name),
            [kind, name] => (kind.to_ascii_uppercase(), name),
            _ => unreachable!("clap counts the words"),
        };
        let kind = kind.trim_end_matches("-NATIVE");
        let number = type_number(kind).ok_or_else(|| {
            let known: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
            Failure::new(format!("don't understand DNS type {kind}"))
                .remedy(format!("Use one of {}.", known.join(", ")))
        })?;
        let api = context.api()?;
        let network = self.network.network(&api, Some(name)).await?;
        let answer = look_up(&api, &network, name, number).await?;
        if self.short {
            if answer.code != 0 {
                let code = answer.code_name();
                return Err(Failure::new(format!("lookup failed: {code}")).into());
            }
            for record in answer.records.iter().filter(|record| record.kind == number) {
                context.out.line(&record.data)?;
            }
            return Ok(());
        }
        context.out.line(&format!(
            ";; opcode: QUERY, status: {}, id: {}",
            answer.code_name(),
            answer.id
        ))?;
        context.out.line(&format!(
            "\n;; QUESTION SECTION:\n;{}.\tIN\t {kind}\n\n;; ANSWER SECTION:",
            name.trim_end_matches('.')
        ))?;
        for record in &answer.records {
            context.out.line(&format!(
                "{}.\t{}\tIN\t{}\t{}",
                record.name,
                record.ttl,
                message::type_name(record.kind),
                record.printed()
            ))?;
        }
        Ok(())
    }
}
