-- What an app was to become, one row per deployment, and how far it came.
CREATE TABLE IF NOT EXISTS release (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES app (id),
    number BIGINT NOT NULL,
    -- queued, running, complete, failed, cancelled, superseded
    status TEXT NOT NULL,
    -- How far the deployment is; read again after a crash.
    stage TEXT NOT NULL,
    -- The app's configuration; null leaves machines as they are but for image, secrets and release.
    config TEXT,
    -- Pinned to a digest; null leaves each machine its own.
    image TEXT,
    secrets_version BIGINT NOT NULL,
    options TEXT NOT NULL,
    description TEXT NOT NULL,
    owner TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    failure TEXT,
    UNIQUE (app_id, number)
);
CREATE INDEX IF NOT EXISTS release_open ON release (app_id, number) WHERE status IN ('queued', 'running');
