-- Who may log in at the admin port, who is logged in, and what anybody changed.

-- A user's way in. `password` is Argon2id in PHC form; empty: none yet. `version` grows when the password changes, which ends log-ins.
CREATE TABLE logins (
    user_id INTEGER PRIMARY KEY REFERENCES users (id),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'member', 'admin', 'owner')),
    password TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
);

-- `hash` is SHA-256 of the cookie, `previous_hash` of the one before it, good until `previous_until_ms`, for requests that were on their
-- way. `user_id` is 0 for the admin token, `credential` what it was opened with: when that changes the log-in ends.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL UNIQUE,
    previous_hash TEXT NOT NULL DEFAULT '',
    previous_until_ms INTEGER NOT NULL DEFAULT 0,
    user_id INTEGER NOT NULL,
    role TEXT NOT NULL,
    way TEXT NOT NULL,
    credential TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL,
    ends_at_ms INTEGER NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL
);
CREATE INDEX sessions_previous ON sessions (previous_hash) WHERE previous_hash <> '';
CREATE INDEX sessions_user ON sessions (user_id);

-- Every change: who, when, what. `before` and `after` are JSON of what differs; null where there was or is nothing. Never a secret.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id INTEGER NOT NULL,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_action ON audit (action);
CREATE INDEX audit_target ON audit (target_kind, target_id);
CREATE INDEX audit_actor ON audit (actor_kind, actor_id);
CREATE INDEX audit_at ON audit (at_ms);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is never changed');
END;
CREATE TRIGGER audit_remains BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'nothing is deleted from the audit log');
END;
