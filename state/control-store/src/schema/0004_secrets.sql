-- How often an app's secrets changed. A missing row is version 0: no secret was ever set.
CREATE TABLE IF NOT EXISTS secrets_version (
    app_id TEXT PRIMARY KEY REFERENCES app (id),
    version BIGINT NOT NULL
);

-- Every value a secret ever had, sealed. A value belongs to the versions from since_version to before until_version;
-- null while it is the current one.
CREATE TABLE IF NOT EXISTS app_secret (
    app_id TEXT NOT NULL REFERENCES app (id),
    name TEXT NOT NULL,
    since_version BIGINT NOT NULL,
    until_version BIGINT,
    sealed_value BYTEA NOT NULL,
    digest TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, name, since_version)
);
CREATE INDEX IF NOT EXISTS app_secret_current ON app_secret (app_id, name) WHERE until_version IS NULL;

-- With which version of its app's secrets a machine's version starts. A missing row: with none.
CREATE TABLE IF NOT EXISTS machine_version_secrets (
    instance_id TEXT PRIMARY KEY REFERENCES machine_version (instance_id),
    secrets_version BIGINT NOT NULL
);
