-- More that is summed: presets and shadows by window, teams, applications, arms and presets by place, durations by key. `res` gets 5, days of the reporting zone,
-- and 6, its months, which are there only where that zone is not UTC: their `start_ms` is the zone's own midnight read as if it were UTC's.
-- All of it but shadows is made again from the generations when this database is opened.

DELETE FROM usage_rollup;
DELETE FROM error_rollup;
DELETE FROM meta WHERE name LIKE 'rollups%';

-- `dim` gets 7, preset, and 8, shadow: `name` is the model that was asked for, `part` the one that got the copy. All that came of a shadow stands there.
INSERT INTO usage_names (kind, name, part) SELECT DISTINCT 'shadow', name, arm FROM arm_days WHERE kind = 'shadow';
INSERT INTO usage_rollup
    SELECT account_id, 3, 8, day * 86400000, usage_names.id, SUM(requests), SUM(failed), SUM(prompt_tokens), SUM(cache_read_tokens),
        SUM(cache_write_tokens), SUM(completion_tokens), SUM(reasoning_tokens), SUM(charged_nanousd), SUM(upstream_cost_nanousd), 0, 0, 0
    FROM arm_days JOIN usage_names ON usage_names.kind = 'shadow' AND usage_names.name = arm_days.name AND part = arm
    WHERE arm_days.kind = 'shadow' GROUP BY 1, 2, 3, 4, 5;
INSERT INTO usage_rollup
    SELECT account_id, 4, 8, CAST(strftime('%s', start_ms / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000, val, SUM(requests),
        SUM(failed), SUM(prompt_tokens), SUM(cache_read_tokens), SUM(cache_write_tokens), SUM(completion_tokens), SUM(reasoning_tokens),
        SUM(charged_nanousd), SUM(upstream_cost_nanousd), 0, 0, 0
    FROM usage_rollup WHERE res = 3 AND dim = 8 GROUP BY 1, 2, 3, 4, 5;
-- What these said of arms of splits, `usage_rollup` and `latency_hist` say.
DROP TABLE arm_days;

-- Days and months of each value of a dimension at each place: what it did by model, provider and endpoint. `dim` is 2, 3, 5, 6 or 7.
DROP TABLE usage_pair;
CREATE TABLE usage_pair (
    account_id INTEGER NOT NULL,
    res INTEGER NOT NULL,
    dim INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    val INTEGER NOT NULL,
    place_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    charged_nanousd INTEGER NOT NULL,
    upstream_cost_nanousd INTEGER NOT NULL,
    retried INTEGER NOT NULL,
    streamed_tokens INTEGER NOT NULL,
    streaming_us INTEGER NOT NULL,
    PRIMARY KEY (account_id, res, dim, start_ms, val, place_id)
) WITHOUT ROWID;

-- Which keys called a model over months: those of one model are few among all.
CREATE INDEX usage_pair_place ON usage_pair (account_id, place_id, start_ms) WHERE dim = 2 AND res = 4;

-- How long replies took: all of them and by place (`dim` 0, 1) in hours, days and months; by key, arm, preset and shadow (2, 6, 7, 8) in days and months. A histogram
-- of the time to the first content of streams and one of the whole of completed calls, in one value each (`rust/ledger/src/histogram.rs`):
-- a row for every bin would be fifty times as many rows to write. Who adds to one reads it first, in the same transaction.
DROP TABLE latency_hist;
CREATE TABLE latency_hist (
    account_id INTEGER NOT NULL,
    res INTEGER NOT NULL,
    dim INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    val INTEGER NOT NULL,
    first_content BLOB NOT NULL,
    whole BLOB NOT NULL,
    PRIMARY KEY (account_id, res, dim, start_ms, val)
) WITHOUT ROWID;

-- Without a rowid there is one tree to write instead of two.
CREATE TABLE attempts_by_generation (
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
    service_tier TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (generation_id, n)
) WITHOUT ROWID;
INSERT INTO attempts_by_generation SELECT * FROM attempts ORDER BY generation_id, n;
DROP TABLE attempts;
ALTER TABLE attempts_by_generation RENAME TO attempts;
