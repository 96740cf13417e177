use mayfly_db::Migration;

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
    version: 1,
    name: "first tables",
    sql: "
    CREATE TABLE IF NOT EXISTS host (
        one BIGINT PRIMARY KEY CHECK (one = 1),
        host_id TEXT NOT NULL,
        boot_id TEXT NOT NULL);

    CREATE TABLE IF NOT EXISTS machine (
        id TEXT PRIMARY KEY,
        generation BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        number BIGINT NOT NULL UNIQUE,
        ipv4 BIGINT UNIQUE,
        destroyed_at BIGINT,
        record_version BIGINT NOT NULL,
        record TEXT NOT NULL);

    CREATE INDEX IF NOT EXISTS machine_destroyed ON machine (destroyed_at) WHERE destroyed_at IS NOT NULL;

    CREATE TABLE IF NOT EXISTS report (
        seq BIGINT PRIMARY KEY,
        machine_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        record_version BIGINT NOT NULL,
        record TEXT NOT NULL);

    CREATE TABLE IF NOT EXISTS run (
        machine_id TEXT NOT NULL,
        due_at BIGINT NOT NULL,
        started_at BIGINT,
        ended_at BIGINT,
        exit_code BIGINT,
        outcome TEXT NOT NULL,
        PRIMARY KEY (machine_id, due_at));

    CREATE TABLE IF NOT EXISTS counter (
        name TEXT PRIMARY KEY,
        value BIGINT NOT NULL)",
    },
    Migration {
        version: 2,
        name: "volumes",
        sql: "
    CREATE TABLE IF NOT EXISTS volume (
        id TEXT PRIMARY KEY,
        size_gib BIGINT NOT NULL,
        filesystem TEXT NOT NULL,
        phase TEXT NOT NULL,
        created_at BIGINT NOT NULL)",
    },
];
