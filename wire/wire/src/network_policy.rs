use std::collections::BTreeMap;

use mayfly_types::Timestamp;

use crate::optional_fields::optional_fields;

optional_fields! {
    /// A network policy; as a request body, with an `id` it replaces the policy of that id.
    pub struct NetworkPolicy {
        pub id: String,
        pub name: String,
        pub selector: NetworkPolicySelector,
        pub rules: Vec<NetworkPolicyRule>,
        /// Not read.
        pub created_at: Timestamp,
        pub updated_at: Timestamp,
    }

    pub struct NetworkPolicySelector {
        pub all: bool,
        pub machines: Vec<NetworkPolicyMachine>,
        pub metadata: BTreeMap<String, String>,
    }

    pub struct NetworkPolicyMachine {
        pub id: String,
    }

    pub struct NetworkPolicyRule {
        /// `allow` or, Mayfly's own, `deny`.
        pub action: String,
        /// `ingress` or `egress`.
        pub direction: String,
        pub ports: Vec<NetworkPolicyPort>,
        /// Mayfly's own: the other side by address.
        pub cidrs: Vec<String>,
        /// Mayfly's own: the other side by name, within the same network.
        pub apps: Vec<String>,
    }

    pub struct NetworkPolicyPort {
        /// `tcp`, `udp`, `icmp` or `any`.
        pub protocol: String,
        pub port: u16,
        /// Mayfly's own: the last port of a range that begins with `port`.
        pub end_port: u16,
    }
}
