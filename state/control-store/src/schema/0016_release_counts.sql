-- How many machines an app had where when a release was live.
CREATE TABLE IF NOT EXISTS release_count (
    release_id TEXT NOT NULL REFERENCES release (id),
    process_group TEXT NOT NULL,
    region TEXT NOT NULL,
    machines BIGINT NOT NULL,
    PRIMARY KEY (release_id, process_group, region)
);
