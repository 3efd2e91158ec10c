-- Who may log in through a provider of OpenID Connect, and the secrets that keys had before they were rotated.

-- Whom the provider means by a subject. It never means anybody else later: neither its names nor its mail addresses decide.
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id),
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
CREATE UNIQUE INDEX identities_user ON identities (user_id);

-- A secret that was replaced is good until `until_ms`. Its row stays, so that no key is ever made with it again.
CREATE TABLE key_secrets (
    hash TEXT PRIMARY KEY,
    key_id INTEGER NOT NULL REFERENCES keys (id),
    label TEXT NOT NULL,
    replaced_at_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX key_secrets_key ON key_secrets (key_id, replaced_at_ms);
