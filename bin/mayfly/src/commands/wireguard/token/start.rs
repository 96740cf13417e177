use clap::Args;

use super::{given, peer_name};
use crate::client::StartWireguardPeer;
use crate::commands::wireguard::peer_file::{Key, PeerFile};
use crate::context::Context;

#[derive(Args, Debug)]
pub(crate) struct Start {
    /// Name of the peer, of letters, digits and dashes
    name: Option<String>,
    /// A label that lists show
    group: Option<String>,
    /// Region of the gateway; the cloud's default region unless given
    region: Option<String>,
    /// New file for the configuration, or `stdout`
    file: Option<String>,
}

impl Start {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = super::delegate(context)?;
        let name = peer_name(context, self.name)?;
        let file = PeerFile::open(context, self.file)?;
        let key = Key::generate()?;
        let new = StartWireguardPeer {
            name,
            group: given(self.group),
            region: given(self.region),
            public_key: key.public(),
        };
        file.fill(context, &key, api.start_wireguard_peer(&new))
            .await
    }
}
