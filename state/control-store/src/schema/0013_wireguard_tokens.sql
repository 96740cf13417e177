-- Rights to enter devices without an account, for programs that bring devices up.
CREATE TABLE IF NOT EXISTS wireguard_token (
    -- SHA-256 of the token's text.
    digest TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organization (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (org_id, name)
);

-- Which devices were entered by a token, and the label it gave them.
CREATE TABLE IF NOT EXISTS wireguard_delegation (
    org_id TEXT NOT NULL REFERENCES organization (id),
    peer_name TEXT NOT NULL,
    token_name TEXT NOT NULL,
    peer_group TEXT NOT NULL,
    PRIMARY KEY (org_id, peer_name)
);
