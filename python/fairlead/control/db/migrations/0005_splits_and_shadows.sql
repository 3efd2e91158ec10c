-- Which arm of which split a generation was given, and what came of each arm and of each shadow.

-- The split whose name was asked for and the arm that was drawn, as the configuration names them; empty where there was none.
ALTER TABLE generations ADD COLUMN split TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN arm TEXT NOT NULL DEFAULT '';

-- Sums per UTC day of settlement, kept as `usage_days` are. `kind` is `split` or `shadow`; of a shadow, `name` is the model that was
-- asked for and `arm` the one that got the copy. `errors` counts attempts that failed, also those that another one followed. The
-- moment of the first token is known of `first_tokens` streams, how long a reply took in all of those that `completed`.
CREATE TABLE arm_days (
    account_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    arm TEXT NOT NULL,
    requests INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    charged_nanousd INTEGER NOT NULL,
    upstream_cost_nanousd INTEGER NOT NULL,
    first_tokens INTEGER NOT NULL,
    first_token_us INTEGER NOT NULL,
    completed_us INTEGER NOT NULL,
    PRIMARY KEY (account_id, day, kind, name, arm)
);
