use clap::Args;
use jiff::Timestamp;

use super::peer_file::{Key, PeerFile};
use crate::client::{Api, NewWireguardPeer};
use crate::context::{Context, chosen_org};

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    /// Region of the gateway; the cloud's default region unless given
    region: Option<String>,
    /// Name of the peer, of letters, digits and dashes; made of user, computer and time unless given
    name: Option<String>,
    /// New file for the configuration, or `stdout`
    file: Option<String>,
    /// Name of the network it shall reach, instead of the default one
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = chosen_org(context, &api, self.org, "ORG").await?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let region = given(self.region).or_else(|| given(std::env::var("FLYCTL_WG_REGION").ok()));
        let name = given(self.name).unwrap_or_else(own_name);
        let file = PeerFile::open(context, self.file)?;
        let key = Key::generate()?;
        let new = NewWireguardPeer {
            name,
            region,
            network: given(self.network),
            public_key: key.public(),
        };
        make(context, &api, &org, new, key, file).await
    }
}

/// Enters the peer and writes its configuration.
pub(super) async fn make(
    context: &Context,
    api: &Api,
    org: &str,
    new: NewWireguardPeer,
    key: Key,
    file: PeerFile,
) -> anyhow::Result<()> {
    let created = match api.create_wireguard_peer(org, &new).await {
        Ok(created) => created,
        Err(error) => {
            file.discard();
            return Err(error.into());
        }
    };
    context.out.note(&format!(
        "Created WireGuard peer \"{}\" in region {} for organization {org}, network {}.",
        created.name(),
        created.region(),
        created.network()
    ));
    context.out.note(
        "The configuration holds the only copy of its private key. If it is lost, use `wireguard reset`.",
    );
    file.write(context, &created, &key)
}

/// A name nobody has: the computer, and the time in letters that sort.
fn own_name() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let host = host.split('.').next().unwrap_or_default();
    let clean: String = host
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .take(30)
        .collect();
    format!("static-{clean}-{:x}", Timestamp::now().as_millisecond())
}
