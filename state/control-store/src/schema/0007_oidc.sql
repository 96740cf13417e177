-- Keys that sign what organizations' machines say of themselves.
CREATE TABLE IF NOT EXISTS oidc_key (
    -- Derived from the public key.
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organization (id),
    -- Opens with a key that is not in this database.
    sealed_key BYTEA NOT NULL,
    -- The public half as a JSON web key.
    public_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS oidc_key_org ON oidc_key (org_id, created_at);
