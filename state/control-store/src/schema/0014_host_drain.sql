-- Hosts that are being emptied, until they are used again or leave.
CREATE TABLE IF NOT EXISTS host_drain (
    host_id TEXT PRIMARY KEY REFERENCES host (id),
    started_at BIGINT NOT NULL
);
-- Machines of such hosts that others elsewhere replace.
CREATE TABLE IF NOT EXISTS host_move (
    machine_id TEXT PRIMARY KEY,
    host_id TEXT NOT NULL REFERENCES host (id),
    app_id TEXT NOT NULL,
    -- Chosen before it is made.
    replacement_id TEXT NOT NULL,
    -- Whether the replacement is started: as the machine was when its move began.
    launches BIGINT NOT NULL,
    stage TEXT NOT NULL,
    problem TEXT,
    began_at BIGINT NOT NULL,
    stage_since BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS host_move_by_host ON host_move (host_id);
