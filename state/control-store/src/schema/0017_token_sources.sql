-- Where tokens that were made for others have been used from.
CREATE TABLE IF NOT EXISTS token_source (
    token_id TEXT NOT NULL REFERENCES token (id),
    -- A range of addresses.
    source TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    PRIMARY KEY (token_id, source)
);
