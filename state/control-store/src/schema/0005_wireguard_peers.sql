-- Users' devices that reach a network by WireGuard.
CREATE TABLE IF NOT EXISTS wireguard_peer (
    public_key TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organization (id),
    network_id BIGINT NOT NULL REFERENCES network (id),
    name TEXT NOT NULL,
    -- Where its gateway is; the host's id is a part of the address.
    region TEXT NOT NULL,
    host_id TEXT NOT NULL,
    ip TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    -- Of the last handshake we heard of; null before the first.
    seen_at BIGINT,
    UNIQUE (org_id, name)
);
CREATE INDEX IF NOT EXISTS wireguard_peer_network ON wireguard_peer (network_id);
