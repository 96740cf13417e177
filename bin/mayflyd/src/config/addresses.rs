use std::net::Ipv4Addr;

use mayfly_types::IpRange;
use serde::{Deserialize, Deserializer};

/// Where addresses of apps are taken from; what is `None` is decided by where the edge listens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Addresses {
    #[serde(deserialize_with = "range")]
    pub(crate) v4: Option<IpRange>,
    #[serde(deserialize_with = "range")]
    pub(crate) v6: Option<IpRange>,
    pub(crate) shared_v4: Option<Ipv4Addr>,
    #[serde(deserialize_with = "range")]
    pub(crate) egress_v4: Option<IpRange>,
    #[serde(deserialize_with = "range")]
    pub(crate) egress_v6: Option<IpRange>,
}

impl Addresses {
    /// Every range is of its own family.
    pub(super) fn checked(self) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.v4.is_none_or(|range| range.first().is_ipv4()),
            "addresses.v4 must be a range of IPv4 addresses, such as 127.80.0.0/16"
        );
        anyhow::ensure!(
            self.v6.is_none_or(|range| range.first().is_ipv6()),
            "addresses.v6 must be a range of IPv6 addresses, such as 2001:db8::/64"
        );
        anyhow::ensure!(
            self.egress_v4.is_none_or(|range| range.first().is_ipv4()),
            "addresses.egress_v4 must be a range of IPv4 addresses, such as 198.51.100.0/28"
        );
        anyhow::ensure!(
            self.egress_v6.is_none_or(|range| range.first().is_ipv6()),
            "addresses.egress_v6 must be a range of IPv6 addresses, such as 2001:db8:1::/64"
        );
        Ok(self)
    }
}

fn range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpRange>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
