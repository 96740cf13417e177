use clap::Args;

use crate::context::{Context, JsonFlag, chosen_org};
use crate::output::{fields, relative_time};

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    /// Name of the peer
    name: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = chosen_org(context, &api, self.org, "ORG").await?;
        let name = super::peer(context, &api, &org, self.name).await?;
        let peer = api.wireguard_peer(&org, &name).await?;
        if self.json.json {
            return Ok(context.out.json(peer.document())?);
        }
        let handshake = match peer.last_handshake_at().parse() {
            Ok(at) => relative_time(at, context.now()),
            Err(_) => "never".to_owned(),
        };
        let connected = if peer.is_connected() { "yes" } else { "no" };
        let endpoint = match peer.endpoint() {
            "" if peer.is_connected() => "by WebSocket",
            "" => "unknown",
            endpoint => endpoint,
        };
        let (received, sent) = (peer.rx_bytes().to_string(), peer.tx_bytes().to_string());
        let pairs = [
            ("Name", peer.name()),
            ("Region", peer.region()),
            ("Network", peer.network()),
            ("Peer IP", peer.ip()),
            ("Connected", connected),
            ("Last handshake", &handshake),
            ("Endpoint", endpoint),
            ("Bytes received", &received),
            ("Bytes sent", &sent),
        ];
        Ok(fields(&context.out, "WireGuard peer", &pairs)?)
    }
}
