-- Sums of generations by window and dimension, kept by the drain in the transaction that inserts the generations. `res` is 0 for
-- minutes, 1 quarter-hours, 2 hours, 3 days, 4 months; `start_ms` is where the window begins, UTC; a generation counts in the window of
-- its settlement. The time comes first in the keys: new rows then lie side by side, at the end.

-- What was called, and where. The endpoint is that of the attempt that answered, else of the last one; 0 where none was tried.
CREATE TABLE usage_places (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    endpoint_id INTEGER NOT NULL,
    UNIQUE (model, provider, endpoint_id)
);

-- Other values that are text: `kind` is `app` (`part` is empty) or `arm` (`name` is the split, `part` the arm).
CREATE TABLE usage_names (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    part TEXT NOT NULL,
    UNIQUE (kind, name, part)
);

-- `dim` says what `val` is: 0 nothing, 1 place, 2 key, 3 team, 4 user, 5 app, 6 arm. Of 3 to 6 there are rows only for who has one.
CREATE TABLE usage_rollup (
    account_id INTEGER NOT NULL,
    res INTEGER NOT NULL,
    dim INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    val INTEGER NOT NULL,
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
    PRIMARY KEY (account_id, res, dim, start_ms, val)
) WITHOUT ROWID;

-- Days and months of each key at each place: what it did by model and by provider.
CREATE TABLE usage_pair (
    account_id INTEGER NOT NULL,
    res INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
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
    PRIMARY KEY (account_id, res, start_ms, key_id, place_id)
) WITHOUT ROWID;

-- How long replies took, in hours and days by place, in months of all places (0). `metric` is 0 for the time to the first content of a stream, 1 for the whole of a
-- completed call; `bin` is floor(ln(microseconds) / ln 1.1), so that histograms add up and a percentile is at most 5 % off.
CREATE TABLE latency_hist (
    account_id INTEGER NOT NULL,
    res INTEGER NOT NULL,
    metric INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    place_id INTEGER NOT NULL,
    bin INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (account_id, res, metric, start_ms, place_id, bin)
) WITHOUT ROWID;

-- Generations that ended with an error, in hours, days and months.
CREATE TABLE error_rollup (
    account_id INTEGER NOT NULL,
    res INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    place_id INTEGER NOT NULL,
    class TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (account_id, res, start_ms, place_id, class)
) WITHOUT ROWID;

-- The days above answer what these did. They are made from the generations when this database is opened.
DROP TABLE usage_days;
