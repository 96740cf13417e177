use std::io::Read;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use mayfly_access::{caveats_from_json, header_of};

use super::Given;
use super::create::window;
use super::limits::Limits;
use crate::context::Context;
use crate::failure::Failure;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  echo '[{\"type\": \"Action\", \"body\": \"r\"}]' | tokens attenuate -t \"$TOKEN\"\n  \
                  tokens attenuate --file caveats.json\n  tokens attenuate -t \"$TOKEN\" --expiry 1h\n  tokens attenuate -t \"$TOKEN\" --source 203.0.113.0/24 --region fra"
)]
pub(crate) struct Attenuate {
    /// File with the caveats as a JSON list; stdin unless this or one of the following is given
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Good for so long from now, such as 1h
    #[arg(short = 'x', long, value_name = "DURATION")]
    expiry: Option<String>,
    #[command(flatten)]
    limits: Limits,
}

impl Attenuate {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut given = Given::read(context)?;
        self.limits.narrow(&mut given.permissions)?;
        let text = match &self.file {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?
            }
            None if self.expiry.is_some() || !self.limits.is_empty() => "[]".to_owned(),
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                text
            }
        };
        let written = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("the caveats are not JSON: {error}")))?;
        let mut caveats = caveats_from_json(&written)?;
        if let Some(expiry) = &self.expiry {
            caveats.push(window(context, expiry)?);
        }
        for token in &mut given.permissions {
            for caveat in &caveats {
                token.add(caveat.clone())?;
            }
        }
        Ok(context.out.line(&header_of(given.all()))?)
    }
}
