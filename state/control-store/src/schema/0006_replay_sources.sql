-- Organizations whose apps may replay requests to apps of org_id. An organization as its own source lets its networks
-- replay to each other.
CREATE TABLE IF NOT EXISTS replay_source (
    org_id TEXT NOT NULL REFERENCES organization (id),
    source_org_id TEXT NOT NULL REFERENCES organization (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, source_org_id)
);
