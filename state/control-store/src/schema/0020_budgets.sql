-- How much an organization may have; what is NULL has no limit.
CREATE TABLE IF NOT EXISTS budget (
    org_id TEXT PRIMARY KEY REFERENCES organization (id),
    apps BIGINT,
    machines BIGINT,
    -- How long its apps live where nobody says, in milliseconds.
    ttl_ms BIGINT
);
