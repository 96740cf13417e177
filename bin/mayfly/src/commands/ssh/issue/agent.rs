//! The SSH agent: <https://datatracker.ietf.org/doc/html/draft-miller-ssh-agent>.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{FreshKey, string};
use crate::failure::Failure;

const ADD_CONSTRAINED: u8 = 25;
const LIFETIME: u8 = 1;
const SUCCESS: u8 = 6;

/// Adds the key with its certificate for `seconds`.
pub(super) fn add(key: &FreshKey, certificate: &str, seconds: u32) -> anyhow::Result<()> {
    let place = std::env::var_os("SSH_AUTH_SOCK").filter(|place| !place.is_empty());
    let place = place.ok_or_else(|| {
        Failure::new("no SSH agent runs: SSH_AUTH_SOCK is not set").remedy(
            "Start one with `eval $(ssh-agent)`, or leave --agent out to write the key to a file.",
        )
    })?;
    let mut words = certificate.split_whitespace();
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        bail!("the certificate has an unknown form");
    };
    let blob = STANDARD.decode(blob).context("decode the certificate")?;
    let mut message = vec![ADD_CONSTRAINED];
    string(&mut message, kind.as_bytes());
    string(&mut message, &blob);
    string(&mut message, key.public());
    string(&mut message, &key.both());
    string(&mut message, words.next().unwrap_or("mayfly").as_bytes());
    message.push(LIFETIME);
    message.extend(seconds.to_be_bytes());
    let mut whole = Vec::new();
    string(&mut whole, &message);
    let mut agent = UnixStream::connect(place).context("connect to the agent")?;
    agent.write_all(&whole).context("write to the agent")?;
    let mut answer = [0; 5];
    agent
        .read_exact(&mut answer)
        .context("read the agent's answer")?;
    if answer[4] != SUCCESS {
        bail!("the agent refused the key");
    }
    Ok(())
}
