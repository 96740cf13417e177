-- Disk space that outlives machines.
CREATE TABLE IF NOT EXISTS volume (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    org_id TEXT NOT NULL,
    name TEXT NOT NULL,
    region TEXT NOT NULL,
    host_id TEXT NOT NULL,
    size_gb BIGINT NOT NULL,
    -- While it is extended: what it goes back to if its host refuses.
    former_size_gb BIGINT,
    fstype TEXT NOT NULL,
    state TEXT NOT NULL,
    -- The machine that has it.
    machine_id TEXT,
    snapshot_retention BIGINT NOT NULL,
    scheduled_snapshots BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- From when on its host may be told to remove it.
    destroy_at BIGINT,
    -- When its host had removed it.
    destroyed_at BIGINT
);
CREATE INDEX IF NOT EXISTS volume_by_app ON volume (app_id, id);
CREATE INDEX IF NOT EXISTS volume_by_org ON volume (org_id, id);
CREATE INDEX IF NOT EXISTS volume_by_host ON volume (host_id);
CREATE UNIQUE INDEX IF NOT EXISTS volume_of_machine ON volume (machine_id) WHERE machine_id IS NOT NULL;
