mod agent;
mod key;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::client::{Api, CertificateRequest};
use crate::context::Context;
use crate::failure::Failure;
use key::FreshKey;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  ssh issue --agent\n  ssh issue personal ./id_mayfly --hours 1\n\n`<path>` and `<path>-cert.pub` \
                  serve any SSH client:\n  ssh -i ./id_mayfly -o ProxyCommand='mayfly proxy --stdio %h:%p' \
                  root@<machine>.vm.<app>.internal"
)]
pub(crate) struct Issue {
    /// Organization (default: the only one you have)
    #[arg(value_name = "ORG")]
    org_argument: Option<String>,
    /// Where to write the key (default: ./id_mayfly)
    path: Option<String>,
    /// Organization
    #[arg(short, long, value_name = "ORG", env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    /// Users the certificate signs in as
    #[arg(short, long, value_name = "NAME", value_delimiter = ',', default_values = ["root", "fly"])]
    username: Vec<String>,
    /// Apps the certificate is good for (default: all of the organization)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    apps: Vec<String>,
    /// Hours until it ends, 1 to 72
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=72))]
    hours: u32,
    /// Give the key to the SSH agent instead of writing it
    #[arg(long, conflicts_with_all = ["dotssh", "path"])]
    agent: bool,
    /// Write the key to ~/.ssh
    #[arg(short, long)]
    dotssh: bool,
    /// Replace a key that an earlier call wrote to the same place
    #[arg(long)]
    overwrite: bool,
}

/// Ends the comment of every key we write, by which it is known again.
const MARK: &str = "mayfly ssh issue";

impl Issue {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        // With one argument that looks like a path, the organization is found.
        let (org, path) = match (&self.org_argument, &self.path) {
            (Some(first), None) if first.contains('/') => (None, Some(first.clone())),
            (first, second) => (first.clone(), second.clone()),
        };
        let org = organization(&api, org.or_else(|| self.org.clone())).await?;
        let place = (!self.agent).then(|| self.place(path)).transpose()?;
        if let Some(place) = &place {
            self.may_write(place)?;
        }
        let key = FreshKey::make(MARK);
        let request = CertificateRequest {
            public_key: &key.public_line(),
            hours: self.hours,
            users: &self.username,
            apps: &self.apps,
        };
        let certificate = api.issue_certificate(&org, &request).await?;
        let Some(place) = place else {
            agent::add(&key, &certificate, self.hours * 3600)
                .context("could not give the key to the SSH agent")?;
            context.out.note("Populated agent with cert:");
            context.out.line(&certificate)?;
            return Ok(());
        };
        let beside = beside(&place);
        write(&place, key.private_file().as_bytes(), 0o600)?;
        write(&beside, format!("{certificate}\n").as_bytes(), 0o644)?;
        context.out.line(&format!(
            "Wrote {}-hour SSH credential to {}, {}",
            self.hours,
            place.display(),
            beside.display()
        ))?;
        Ok(())
    }

    fn place(&self, path: Option<String>) -> anyhow::Result<PathBuf> {
        let name = path.unwrap_or_else(|| "id_mayfly".to_owned());
        if !self.dotssh {
            return Ok(PathBuf::from(name));
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or_else(|| Failure::new("HOME is not set, so there is no ~/.ssh"))?;
        let folder = PathBuf::from(home).join(".ssh");
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder.join(name))
    }

    /// Keys of others are never replaced.
    fn may_write(&self, place: &Path) -> anyhow::Result<()> {
        let there = match fs::read(place) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("read {}", place.display())),
        };
        if !self.overwrite {
            return Err(Failure::new(format!("{} exists", place.display()))
                .remedy("Name another place, or add --overwrite.")
                .into());
        }
        if !key::is_marked(&there, MARK) {
            return Err(Failure::new(format!(
                "{} exists and was not written by this command",
                place.display()
            ))
            .remedy("Name another place: keys of yours are never replaced.")
            .into());
        }
        Ok(())
    }
}

/// The organization named, or the only one there is.
pub(super) async fn organization(api: &Api, named: Option<String>) -> anyhow::Result<String> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Ok(named);
    }
    let orgs = api.orgs().await?;
    match orgs.as_slice() {
        [only] => Ok(only.slug().to_owned()),
        _ => {
            let slugs: Vec<&str> = orgs.iter().map(|org| org.slug()).collect();
            Err(Failure::new("no organization was named")
                .remedy(format!("Name one with --org: {}.", slugs.join(", ")))
                .into())
        }
    }
}

fn beside(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push("-cert.pub");
    PathBuf::from(name)
}

fn write(place: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(mode);
    let written = options
        .open(place)
        .and_then(|mut file| file.write_all(content));
    written.with_context(|| format!("write {}", place.display()))
}
