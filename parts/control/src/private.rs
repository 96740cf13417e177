//! Doors from the API into the private networks of an organization: connections, names, echoes.
//!
//! Whoever holds a token of the organization reaches what its own machines reach, and nothing else: an address is let
//! through only if one of the organization's machines has it, or one of its networks reaches an app by it.

mod connect;
mod dns;
mod echo;
mod target;

use std::net::Ipv6Addr;

use async_trait::async_trait;
use mayfly_types::{NetworkId, Region};

pub(crate) use connect::connect;
pub(crate) use dns::dns;
pub(crate) use echo::ping;

/// Names as machines of a network get them; kept by the server of names.
#[async_trait]
pub trait PrivateNames: Send + Sync + 'static {
    /// The addresses `name` has for somebody in `region`; empty if it has none.
    fn addresses(&self, network: NetworkId, region: &Region, name: &str) -> Vec<Ipv6Addr>;

    /// Answers a DNS message; `None` if it is none.
    async fn ask(&self, network: NetworkId, region: &Region, message: &[u8]) -> Option<Vec<u8>>;
}
