-- Addresses that lead to apps. A shared one leads to many.
CREATE TABLE IF NOT EXISTS app_address (
    ip TEXT NOT NULL,
    app_id TEXT NOT NULL REFERENCES app (id),
    kind TEXT NOT NULL,
    -- Announced in this region only; null means everywhere.
    region TEXT,
    -- The network that reaches a private address.
    network_id BIGINT REFERENCES network (id),
    service_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, ip)
);
CREATE UNIQUE INDEX IF NOT EXISTS app_address_own ON app_address (ip) WHERE kind <> 'shared_v4';
