-- Servers that joined the one with the control plane. A server is named by its first host.
CREATE TABLE IF NOT EXISTS fleet_server (
    id TEXT PRIMARY KEY,
    -- SHA-256 of its public key: who asks again for the same server must have the same.
    key_digest TEXT NOT NULL,
    address TEXT NOT NULL,
    tunnel_key TEXT,
    tunnel_endpoint TEXT,
    joined_at BIGINT NOT NULL
);
-- What is known of a host beside its reports.
CREATE TABLE IF NOT EXISTS fleet_host (
    host_id TEXT PRIMARY KEY REFERENCES host (id),
    -- Null: on the server of the control plane.
    server_id TEXT REFERENCES fleet_server (id),
    memory_mib BIGINT NOT NULL,
    cpus BIGINT NOT NULL,
    reachable BIGINT NOT NULL,
    reach_since BIGINT NOT NULL,
    cordoned_at BIGINT,
    removed_at BIGINT
);
CREATE TABLE IF NOT EXISTS join_token (
    -- SHA-256 of the token's secret.
    digest TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- The one server that used it.
    server_id TEXT
);
