-- Truth values are 0 and 1, times are milliseconds since 1970 UTC, documents are JSON texts.

-- Numbers that are never given out twice, by what they number.
CREATE TABLE IF NOT EXISTS counter (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('app', 0), ('network', 0), ('organization', 0)
    ON CONFLICT (name) DO NOTHING;

-- "user" is a reserved word.
CREATE TABLE IF NOT EXISTS account (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS organization (
    id TEXT PRIMARY KEY,
    numeric_id BIGINT NOT NULL UNIQUE,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS member (
    org_id TEXT NOT NULL REFERENCES organization (id),
    user_id TEXT NOT NULL REFERENCES account (id),
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX IF NOT EXISTS member_user ON member (user_id);

CREATE TABLE IF NOT EXISTS network (
    id BIGINT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organization (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (org_id, name)
);

-- The text of a token is not here: only its SHA-256.
CREATE TABLE IF NOT EXISTS token (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES account (id),
    org_id TEXT REFERENCES organization (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX IF NOT EXISTS token_user ON token (user_id);

CREATE TABLE IF NOT EXISTS app (
    id TEXT PRIMARY KEY,
    numeric_id BIGINT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    org_id TEXT NOT NULL REFERENCES organization (id),
    network_id BIGINT NOT NULL REFERENCES network (id),
    status TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX IF NOT EXISTS app_name ON app (name) WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS app_org ON app (org_id, name);

CREATE TABLE IF NOT EXISTS host (
    id TEXT PRIMARY KEY,
    region TEXT NOT NULL,
    registered_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    -- Up to where the host's reports are contained in this database.
    applied_seq BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS machine (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES app (id),
    org_id TEXT NOT NULL REFERENCES organization (id),
    name TEXT NOT NULL,
    region TEXT NOT NULL,
    host_id TEXT NOT NULL REFERENCES host (id),
    placement_reason TEXT NOT NULL,
    -- Stands in for other machines: spec.standbys is not empty.
    standby BIGINT NOT NULL,
    instance_id TEXT NOT NULL,
    image TEXT NOT NULL,
    image_labels TEXT NOT NULL,
    config TEXT NOT NULL,
    spec TEXT NOT NULL,
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    destroyed_at BIGINT,
    lease_nonce TEXT,
    lease_owner TEXT,
    lease_description TEXT,
    lease_expires_at BIGINT,
    -- What the host last reported.
    state TEXT NOT NULL,
    state_since BIGINT NOT NULL,
    host_seq BIGINT NOT NULL,
    observed_instance_id TEXT,
    cordoned BIGINT NOT NULL,
    private_ip TEXT NOT NULL,
    failure TEXT,
    containers TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS machine_name ON machine (app_id, name) WHERE destroyed_at IS NULL;
CREATE INDEX IF NOT EXISTS machine_app ON machine (app_id, destroyed_at, id);
CREATE INDEX IF NOT EXISTS machine_org ON machine (org_id, id);
CREATE INDEX IF NOT EXISTS machine_host ON machine (host_id, id);
CREATE INDEX IF NOT EXISTS machine_standby ON machine (id) WHERE standby = 1 AND destroyed_at IS NULL;
CREATE INDEX IF NOT EXISTS machine_destroyed ON machine (destroyed_at);

-- A copy of config.metadata of live machines, for filters.
CREATE TABLE IF NOT EXISTS machine_metadata (
    machine_id TEXT NOT NULL REFERENCES machine (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (machine_id, key)
);

CREATE TABLE IF NOT EXISTS machine_version (
    instance_id TEXT PRIMARY KEY,
    machine_id TEXT NOT NULL REFERENCES machine (id),
    image TEXT NOT NULL,
    image_labels TEXT NOT NULL,
    config TEXT NOT NULL,
    spec TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS machine_version_machine ON machine_version (machine_id, instance_id);

CREATE TABLE IF NOT EXISTS machine_event (
    id TEXT PRIMARY KEY,
    machine_id TEXT NOT NULL REFERENCES machine (id),
    host_seq BIGINT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    source TEXT NOT NULL,
    at BIGINT NOT NULL,
    request TEXT
);
CREATE INDEX IF NOT EXISTS machine_event_machine ON machine_event (machine_id, host_seq);

CREATE TABLE IF NOT EXISTS idempotency (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    machine_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX IF NOT EXISTS idempotency_expiry ON idempotency (expires_at);
CREATE INDEX IF NOT EXISTS idempotency_machine ON idempotency (machine_id);

-- The one event log. Its newest row is never removed, since the next number follows it.
CREATE TABLE IF NOT EXISTS event (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    org_id TEXT,
    app_id TEXT,
    app_name TEXT,
    machine_id TEXT,
    cause TEXT,
    before TEXT,
    after TEXT
);
CREATE INDEX IF NOT EXISTS event_org ON event (org_id, seq);
CREATE INDEX IF NOT EXISTS event_app ON event (app_id, seq);
CREATE INDEX IF NOT EXISTS event_machine ON event (machine_id, seq);
CREATE INDEX IF NOT EXISTS event_at ON event (at);
