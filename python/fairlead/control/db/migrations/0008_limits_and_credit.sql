-- Limits of accounts, teams, users and keys, and the credit that accounts are given. Money is INTEGER nano-dollars.

-- `limit_interval` is `day`, `week`, `month` (UTC, weeks from Monday) or `total`; it says when `limit_nanousd` begins anew.
ALTER TABLE accounts ADD COLUMN limit_nanousd INTEGER;
ALTER TABLE accounts ADD COLUMN limit_interval TEXT NOT NULL DEFAULT 'total';
ALTER TABLE accounts ADD COLUMN rpm INTEGER;
ALTER TABLE accounts ADD COLUMN tpm INTEGER;
ALTER TABLE accounts ADD COLUMN max_concurrency INTEGER;
ALTER TABLE accounts ADD COLUMN updated_at_ms INTEGER;
ALTER TABLE accounts ADD COLUMN deleted_at_ms INTEGER;

ALTER TABLE keys ADD COLUMN limit_nanousd INTEGER;
ALTER TABLE keys ADD COLUMN limit_interval TEXT NOT NULL DEFAULT 'total';
ALTER TABLE keys ADD COLUMN rpm INTEGER;
ALTER TABLE keys ADD COLUMN tpm INTEGER;
ALTER TABLE keys ADD COLUMN max_concurrency INTEGER;
-- OpenRouter's word, kept for its clients: nobody brings a provider's key here, so it changes nothing.
ALTER TABLE keys ADD COLUMN include_byok INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN strict_budget INTEGER NOT NULL DEFAULT 0;

-- A deleted team or user keeps its row: generations name it, and its id is never given out again.
CREATE TABLE teams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    limit_nanousd INTEGER,
    limit_interval TEXT NOT NULL DEFAULT 'total',
    rpm INTEGER,
    tpm INTEGER,
    max_concurrency INTEGER,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER,
    deleted_at_ms INTEGER
);
CREATE UNIQUE INDEX teams_name ON teams (account_id, name) WHERE deleted_at_ms IS NULL;

-- `team_id` is the team of its keys that name none; 0 for none.
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    team_id INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    limit_nanousd INTEGER,
    limit_interval TEXT NOT NULL DEFAULT 'total',
    rpm INTEGER,
    tpm INTEGER,
    max_concurrency INTEGER,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER,
    deleted_at_ms INTEGER
);
CREATE UNIQUE INDEX users_name ON users (account_id, name) WHERE deleted_at_ms IS NULL;

-- Budgets beside a scope's own limit. `kind` is `account`, `team`, `user` or `key`; a soft one refuses nothing and is told of.
CREATE TABLE budgets (
    kind TEXT NOT NULL,
    scope_id INTEGER NOT NULL,
    limit_interval TEXT NOT NULL,
    soft INTEGER NOT NULL,
    limit_nanousd INTEGER NOT NULL,
    PRIMARY KEY (kind, scope_id, limit_interval, soft)
);

-- What an account was given, less what was taken back: `kind` is `topup`, `adjustment`, `refund` or `expiry`. The sum is its credit before
-- use. A correction is a further entry; `reverses_id` is the entry that it takes back.
CREATE TABLE credit_entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('topup', 'adjustment', 'refund', 'expiry')),
    amount_nanousd INTEGER NOT NULL,
    note TEXT NOT NULL,
    external_id TEXT UNIQUE,
    expires_at_ms INTEGER,
    reverses_id INTEGER REFERENCES credit_entries (id)
);
CREATE INDEX credit_entries_account ON credit_entries (account_id, id);
CREATE INDEX credit_entries_reverses ON credit_entries (reverses_id);
CREATE TRIGGER credit_entries_stay BEFORE UPDATE ON credit_entries BEGIN
    SELECT RAISE(ABORT, 'a credit entry is never changed; add another one');
END;
CREATE TRIGGER credit_entries_remain BEFORE DELETE ON credit_entries BEGIN
    SELECT RAISE(ABORT, 'a credit entry is never deleted; add another one');
END;

-- Events of the payment provider that were taken, each once. `payment` is what they are about; `refunded_nanousd` is what had been paid
-- back of it by then, in all.
CREATE TABLE payment_events (
    id TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    payment TEXT NOT NULL,
    refunded_nanousd INTEGER NOT NULL
);
CREATE INDEX payment_events_payment ON payment_events (payment);

-- Alerts that were raised. `subject` names what and the window it is about, so that each is raised once.
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    content TEXT NOT NULL
);

-- Where an alert goes: `channel` is `webhook` or `smtp`. It is tried again until it was delivered or given up (`done_at_ms`).
CREATE TABLE alert_deliveries (
    alert_id INTEGER NOT NULL REFERENCES alerts (id),
    channel TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at_ms INTEGER NOT NULL,
    done_at_ms INTEGER,
    PRIMARY KEY (alert_id, channel)
);
