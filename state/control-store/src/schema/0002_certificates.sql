-- Names of an app beside <app>.<domain>, the certificates for them, and the orders by which they come.

CREATE TABLE IF NOT EXISTS hostname (
    app_id TEXT NOT NULL REFERENCES app (id),
    name TEXT NOT NULL,
    org_id TEXT NOT NULL REFERENCES organization (id),
    -- A certificate is to be obtained; otherwise one may be imported.
    acme BIGINT NOT NULL,
    -- This app answers to the name. Several may ask for it, one has it.
    holder BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- What DNS said last, as JSON.
    findings TEXT,
    checked_at BIGINT,
    -- When there is something to do again.
    next_at BIGINT NOT NULL,
    -- Orders that failed since the last that did not.
    attempts BIGINT NOT NULL,
    limited_until BIGINT,
    -- Why the last order failed, as JSON.
    failure TEXT,
    PRIMARY KEY (app_id, name)
);
CREATE UNIQUE INDEX IF NOT EXISTS hostname_holder ON hostname (name) WHERE holder = 1;
CREATE INDEX IF NOT EXISTS hostname_name ON hostname (name);
CREATE INDEX IF NOT EXISTS hostname_next ON hostname (next_at);

CREATE TABLE IF NOT EXISTS certificate (
    -- Empty for the platform's own.
    app_id TEXT NOT NULL,
    hostname TEXT NOT NULL,
    -- custom or fly.
    source TEXT NOT NULL,
    -- local, the address of an ACME directory, or empty for what was imported.
    authority TEXT NOT NULL,
    chain TEXT NOT NULL,
    -- Opens with a key that is not in this database.
    sealed_key BYTEA NOT NULL,
    names TEXT NOT NULL,
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    key_type TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Warnings of its end that were given.
    warned BIGINT NOT NULL,
    PRIMARY KEY (app_id, hostname, source)
);

CREATE TABLE IF NOT EXISTS acme_account (
    directory_url TEXT PRIMARY KEY,
    sealed_credentials BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS acme_order (
    app_id TEXT NOT NULL,
    hostname TEXT NOT NULL,
    directory_url TEXT NOT NULL,
    url TEXT NOT NULL,
    method TEXT NOT NULL,
    -- The key of the certificate to come.
    sealed_key BYTEA NOT NULL,
    -- What is shown to the authority, as JSON; null before it was asked what it wants to see.
    proofs TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, hostname)
);
