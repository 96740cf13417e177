-- Apps that go by themselves, and when.
CREATE TABLE IF NOT EXISTS app_expiry (
    app_id TEXT PRIMARY KEY REFERENCES app (id),
    expires_at BIGINT NOT NULL
);
