-- Groups whose machines come and go by load.
CREATE TABLE IF NOT EXISTS autoscale_rule (
    app_id TEXT NOT NULL REFERENCES app (id),
    process_group TEXT NOT NULL,
    -- Empty: all regions that no other rule of the group names.
    region TEXT NOT NULL,
    min_machines BIGINT NOT NULL,
    max_machines BIGINT NOT NULL,
    -- When the last change ended, and what it was.
    changed_at BIGINT,
    last_change TEXT,
    -- Changes that failed since the last that did not.
    failures BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (app_id, process_group, region)
);
-- Changes by such rules that are under way. They outlive their rule.
CREATE TABLE IF NOT EXISTS autoscale_change (
    -- Of a machine that is made: chosen before.
    machine_id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES app (id),
    process_group TEXT NOT NULL,
    -- The rule's.
    scope TEXT NOT NULL,
    -- Where the machine is or will be.
    region TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    began_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS autoscale_change_by_app ON autoscale_change (app_id);
