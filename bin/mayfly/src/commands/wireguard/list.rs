use clap::Args;
use serde_json::{Value, json};

use crate::client::WireguardPeer;
use crate::context::{Context, JsonFlag, chosen_org};
use crate::output::Table;

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = chosen_org(context, &api, self.org, "ORG").await?;
        let peers = api.wireguard_peers(&org).await?;
        if self.json.json {
            let documents: Vec<Value> = peers.iter().map(document).collect();
            return Ok(context.out.json(&Value::from(documents))?);
        }
        let headers = [
            "Name",
            "Region",
            "Peer IP",
            "Network",
            "Connected",
            "Token",
            "Group",
        ];
        let mut table = Table::new(&headers)
            .optional(&["Network", "Connected"])
            .rare(&["Token", "Group"]);
        for peer in &peers {
            let connected = if peer.is_connected() { "yes" } else { "no" };
            table.row([
                peer.name(),
                peer.region(),
                peer.ip(),
                peer.network(),
                connected,
                peer.token(),
                peer.group(),
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}

/// The peer under upstream's names.
fn document(peer: &WireguardPeer) -> Value {
    json!({
        "ID": peer.name(),
        "Pubkey": peer.public_key(),
        "Region": peer.region(),
        "Name": peer.name(),
        "Peerip": peer.ip(),
        "Network": peer.network(),
        "Connected": peer.is_connected(),
        "Token": peer.token(),
        "Group": peer.group(),
    })
}
