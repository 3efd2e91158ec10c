-- What generations came to whose rows are gone (`storage.retention_days`): with those that are there it makes the sums that are kept.
-- From here on sums cannot be made anew from rows: a migration that empties them must begin at `rows_from` in `meta`.
CREATE TABLE removed_generations (
    account_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    charged_nanousd INTEGER NOT NULL,
    -- With that of their shadows.
    upstream_cost_nanousd INTEGER NOT NULL,
    PRIMARY KEY (account_id, key_id)
) WITHOUT ROWID;
