use std::net::Ipv6Addr;

use async_trait::async_trait;
use mayfly_control::PrivateNames;
use mayfly_names::{Asker, NamesDesk};
use mayfly_types::{NetworkId, Region};

/// Lets the API ask this daemon's server of names on behalf of its callers.
pub(crate) struct AskedForCallers(pub(crate) NamesDesk);

#[async_trait]
impl PrivateNames for AskedForCallers {
    fn addresses(&self, network: NetworkId, region: &Region, name: &str) -> Vec<Ipv6Addr> {
        let asker = Asker::visitor(network, region.clone());
        self.0.addresses(&asker, name)
    }

    async fn ask(&self, network: NetworkId, region: &Region, message: &[u8]) -> Option<Vec<u8>> {
        let asker = Asker::visitor(network, region.clone());
        self.0.ask(&asker, message).await
    }
}
