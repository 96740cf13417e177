use clap::Args;

use super::peer_name;
use crate::commands::wireguard::peer_file::{Key, PeerFile};
use crate::context::Context;

/// The peer keeps its address; configurations made before stop working.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// Name of the peer
    name: Option<String>,
    /// New file for the configuration, or `stdout`
    file: Option<String>,
}

impl Update {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = super::delegate(context)?;
        let name = peer_name(context, self.name)?;
        let file = PeerFile::open(context, self.file)?;
        let key = Key::generate()?;
        file.fill(
            context,
            &key,
            api.update_wireguard_peer(&name, &key.public()),
        )
        .await
    }
}
