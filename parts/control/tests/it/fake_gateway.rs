//! A gateway that lets in whom the directory names.

use std::collections::BTreeSet;
use std::sync::Arc;

use mayfly_edge_api::{Directory, GatewayApi, GatewayInfo, PeerReport};
use mayfly_types::{HostId, PeerKey};
use tokio::sync::watch;

pub(crate) struct FakeGateway {
    admitted: watch::Receiver<Arc<BTreeSet<PeerKey>>>,
}

impl FakeGateway {
    pub(crate) fn following(mut directory: watch::Receiver<Arc<Directory>>) -> Arc<dyn GatewayApi> {
        let (sender, admitted) = watch::channel(Arc::default());
        // Ends with the directory it follows.
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(async move {
            loop {
                let now = Arc::clone(&directory.borrow_and_update());
                let keys = now.peers.iter().map(|peer| peer.public_key).collect();
                sender.send_replace(Arc::new(keys));
                if directory.changed().await.is_err() {
                    return;
                }
            }
        });
        Arc::new(FakeGateway { admitted })
    }
}

impl GatewayApi for FakeGateway {
    fn info(&self) -> GatewayInfo {
        GatewayInfo {
            region: "iad".parse().unwrap(),
            host_id: HostId::from_random([0xab; 8]),
            public_key: PeerKey::from_bytes([9; 32]),
            endpoint: "192.0.2.9".to_owned(),
            port: 51820,
            websocket_port: Some(443),
            wireguard: "userspace".to_owned(),
        }
    }

    fn admitted(&self) -> watch::Receiver<Arc<BTreeSet<PeerKey>>> {
        self.admitted.clone()
    }

    fn peers(&self) -> Vec<PeerReport> {
        Vec::new()
    }
}
