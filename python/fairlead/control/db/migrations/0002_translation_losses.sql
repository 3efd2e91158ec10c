-- What a call lost between the dialects of its client and its provider.

-- The dialect spoken with the provider; empty where it was the client's.
ALTER TABLE generations ADD COLUMN upstream_dialect TEXT NOT NULL DEFAULT '';
-- How many losses there were beyond those in the table below.
ALTER TABLE generations ADD COLUMN translation_losses_more INTEGER NOT NULL DEFAULT 0;

-- `severity` is `hint`, `changed` or `dropped`.
CREATE TABLE translation_losses (
    generation_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    path TEXT NOT NULL,
    severity TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (generation_id, n)
);
