use mayfly_db::Migration;

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "intent",
        sql: include_str!("schema/0001_intent.sql"),
    },
    Migration {
        version: 2,
        name: "certificates",
        sql: include_str!("schema/0002_certificates.sql"),
    },
    Migration {
        version: 3,
        name: "addresses",
        sql: include_str!("schema/0003_addresses.sql"),
    },
    Migration {
        version: 4,
        name: "secrets",
        sql: include_str!("schema/0004_secrets.sql"),
    },
    Migration {
        version: 5,
        name: "wireguard peers",
        sql: include_str!("schema/0005_wireguard_peers.sql"),
    },
    Migration {
        version: 6,
        name: "replay_sources",
        sql: include_str!("schema/0006_replay_sources.sql"),
    },
    Migration {
        version: 7,
        name: "oidc",
        sql: include_str!("schema/0007_oidc.sql"),
    },
    Migration {
        version: 8,
        name: "network policies",
        sql: include_str!("schema/0008_network_policies.sql"),
    },
    Migration {
        version: 9,
        name: "ssh authorities",
        sql: include_str!("schema/0009_ssh_authorities.sql"),
    },
    Migration {
        version: 10,
        name: "fleet",
        sql: include_str!("schema/0010_fleet.sql"),
    },
    Migration {
        version: 11,
        name: "releases",
        sql: include_str!("schema/0011_releases.sql"),
    },
    Migration {
        version: 12,
        name: "access",
        sql: include_str!("schema/0012_access.sql"),
    },
    Migration {
        version: 13,
        name: "wireguard tokens",
        sql: include_str!("schema/0013_wireguard_tokens.sql"),
    },
    Migration {
        version: 14,
        name: "host drain",
        sql: include_str!("schema/0014_host_drain.sql"),
    },
    Migration {
        version: 15,
        name: "app expiry",
        sql: include_str!("schema/0015_app_expiry.sql"),
    },
    Migration {
        version: 16,
        name: "release counts",
        sql: include_str!("schema/0016_release_counts.sql"),
    },
    Migration {
        version: 17,
        name: "token sources",
        sql: include_str!("schema/0017_token_sources.sql"),
    },
    Migration {
        version: 18,
        name: "autoscale",
        sql: include_str!("schema/0018_autoscale.sql"),
    },
    Migration {
        version: 19,
        name: "volumes",
        sql: include_str!("schema/0019_volumes.sql"),
    },
    Migration {
        version: 20,
        name: "budgets",
        sql: include_str!("schema/0020_budgets.sql"),
    },
];
