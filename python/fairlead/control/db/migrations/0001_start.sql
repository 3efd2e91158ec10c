-- What a fresh installation has. Money is INTEGER nano-dollars, moments are Unix milliseconds, 0 stands for "none" in ids.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL
);

-- A deleted key keeps its row: generations name it, and its id is never given out again.
CREATE TABLE keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL UNIQUE,
    public_hash TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    management INTEGER NOT NULL DEFAULT 0,
    models TEXT NOT NULL DEFAULT '[]',
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    team_id INTEGER NOT NULL DEFAULT 0,
    user_id INTEGER NOT NULL DEFAULT 0,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER,
    last_used_at_ms INTEGER,
    expires_at_ms INTEGER,
    deleted_at_ms INTEGER
);

CREATE TABLE endpoints (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    region TEXT NOT NULL,
    UNIQUE (model, provider, upstream_model, region)
);

-- How far each chain of the journal has been applied; committed together with the rows it brought.
CREATE TABLE cursors (
    node INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    worker INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    PRIMARY KEY (node, epoch, worker)
);

CREATE TABLE generations (
    id TEXT PRIMARY KEY,
    started_at_ms INTEGER NOT NULL,
    settled_at_ms INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    team_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    end_user_id INTEGER NOT NULL,
    dialect TEXT NOT NULL,
    manner TEXT NOT NULL,
    streamed INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    flags INTEGER NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    requested_model TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    upstream_id TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    native_finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    web_searches INTEGER NOT NULL,
    reserved_nanousd INTEGER NOT NULL,
    charged_nanousd INTEGER NOT NULL,
    upstream_cost_nanousd INTEGER NOT NULL,
    price_version INTEGER NOT NULL,
    sent_us INTEGER NOT NULL,
    head_us INTEGER NOT NULL,
    content_us INTEGER NOT NULL,
    total_us INTEGER NOT NULL,
    own_us INTEGER NOT NULL,
    referer TEXT NOT NULL,
    title TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    end_user TEXT NOT NULL,
    session_id TEXT NOT NULL
);

-- A provider's own reply id is looked up inside the caller's account only.
CREATE INDEX generations_upstream ON generations (account_id, upstream_id);

CREATE TABLE attempts (
    generation_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    provider TEXT NOT NULL,
    endpoint_id INTEGER NOT NULL,
    upstream_model TEXT NOT NULL,
    upstream_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    latency_us INTEGER NOT NULL,
    upstream_cost_nanousd INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    PRIMARY KEY (generation_id, n)
);

-- Sums per UTC day of settlement, kept by the drain in the transaction that inserts the generations, so that a key's usage
-- is a few rows to add up however long its history is. `day` counts days since 1970-01-01.
CREATE TABLE usage_days (
    account_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    charged_nanousd INTEGER NOT NULL,
    upstream_cost_nanousd INTEGER NOT NULL,
    PRIMARY KEY (account_id, key_id, day, model, provider)
);

INSERT INTO accounts (id, name, created_at_ms) VALUES (1, 'default', 0);
