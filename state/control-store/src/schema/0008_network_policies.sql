-- What machines of an app may begin, and who may begin something with them.
CREATE TABLE IF NOT EXISTS network_policy (
    id TEXT NOT NULL,
    app_id TEXT NOT NULL REFERENCES app (id),
    policy TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, id)
);
