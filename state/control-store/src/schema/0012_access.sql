-- Tokens that are known by their id and a signature instead of by their digest.
CREATE TABLE IF NOT EXISTS macaroon (
    token_id TEXT PRIMARY KEY REFERENCES token (id),
    -- The one app it was made for.
    app_id TEXT REFERENCES app (id)
);
CREATE INDEX IF NOT EXISTS macaroon_app ON macaroon (app_id);
CREATE INDEX IF NOT EXISTS token_org ON token (org_id);

-- A deleted organization gives its slug back and has no members.
CREATE TABLE IF NOT EXISTS deleted_organization (
    org_id TEXT PRIMARY KEY REFERENCES organization (id),
    deleted_at BIGINT NOT NULL
);

-- Who may become a member. It is gone when it was accepted, taken back or replaced.
CREATE TABLE IF NOT EXISTS invitation (
    org_id TEXT NOT NULL REFERENCES organization (id),
    email TEXT NOT NULL,
    -- SHA-256 of the code that the invited person has.
    digest TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    invited_by TEXT NOT NULL REFERENCES account (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, email)
);
