mod archive;
mod import;
mod list;
mod prune;
mod pull;
mod show;
mod update;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use crate::context::Context;

const DIGEST_SHOWN: usize = "sha256:".len() + 12;

#[derive(Subcommand, Debug)]
pub(crate) enum ImageCommand {
    /// Bring in an image from a file, a directory or standard input
    Import(import::Import),
    /// Fetch an image from its registry
    Pull(pull::Pull),
    /// List the images on the host
    #[command(alias = "ls")]
    List(list::List),
    /// Show what the machines of an app run, or one image
    Show(show::Show),
    /// Bring the machines of an app to what their image's tag stands for now, or to another image
    Update(update::Update),
    /// Remove the images nothing needs
    Prune(prune::Prune),
}

impl ImageCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            ImageCommand::Import(command) => command.run(context).await?,
            ImageCommand::Pull(command) => command.run(context).await?,
            ImageCommand::List(command) => command.run(context).await?,
            ImageCommand::Show(command) => command.run(context).await?,
            ImageCommand::Update(command) => return command.run(context).await,
            ImageCommand::Prune(command) => command.run(context).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text<'a>(image: &'a Value, key: &str) -> &'a str {
    image.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn count(image: &Value, key: &str) -> u64 {
    image.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// The image's name without the digest, which has a column of its own.
fn short_name(image: &Value) -> &str {
    let name = text(image, "image");
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// The digits of a digest that people compare.
fn short_digest(digest: &str) -> &str {
    digest.get(..DIGEST_SHOWN).unwrap_or(digest)
}

/// Bytes as people say them.
fn amount(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_have_one_digit_and_a_unit() {
        for (bytes, said) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_500, "1.5 kB"),
            (72_340_000, "72.3 MB"),
        ] {
            assert_eq!(amount(bytes), said);
        }
    }
}
