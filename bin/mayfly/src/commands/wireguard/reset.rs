use clap::Args;

use super::create::make;
use super::peer_file::{Key, PeerFile};
use crate::client::NewWireguardPeer;
use crate::context::{Context, chosen_org};

/// The peer is removed and added again under its name, with another address; configurations made before stop working.
#[derive(Args, Debug)]
pub(crate) struct Reset {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    /// Name of the peer
    name: Option<String>,
    /// New file for the configuration, or `stdout`
    file: Option<String>,
}

impl Reset {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = chosen_org(context, &api, self.org, "ORG").await?;
        let name = super::peer(context, &api, &org, self.name).await?;
        let before = api.wireguard_peer(&org, &name).await?;
        let file = PeerFile::open(context, self.file)?;
        let key = Key::generate()?;
        let new = NewWireguardPeer {
            name: name.clone(),
            region: Some(before.region().to_owned()),
            network: Some(before.network().to_owned()),
            public_key: key.public(),
        };
        api.remove_wireguard_peer(&org, &name).await?;
        make(context, &api, &org, new, key, file).await
    }
}
