-- The key by which an organization vouches for those who enter its machines.

CREATE TABLE IF NOT EXISTS ssh_authority (
    org_id TEXT PRIMARY KEY REFERENCES organization (id),
    -- As in an authorized_keys file.
    public_key TEXT NOT NULL,
    -- Opens with a key that is not in this database.
    sealed_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
