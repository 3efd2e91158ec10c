-- Limits of each end user (a body's `user`) of an account, a team, a user or a key, as JSON; absent: none.
ALTER TABLE accounts ADD COLUMN end_user_limits TEXT;
ALTER TABLE teams ADD COLUMN end_user_limits TEXT;
ALTER TABLE users ADD COLUMN end_user_limits TEXT;
ALTER TABLE keys ADD COLUMN end_user_limits TEXT;

-- What was charged to end users with limits on a day of UTC, for as long as a budget may count it: a start reads it.
CREATE TABLE end_user_days (
    day INTEGER NOT NULL,
    end_user_id INTEGER NOT NULL,
    charged_nanousd INTEGER NOT NULL,
    PRIMARY KEY (day, end_user_id)
) WITHOUT ROWID;
