-- Replies that were given again from the response cache.

-- The generation that the reply was made for, and what that was charged; empty and 0 of every generation that a provider answered.
ALTER TABLE generations ADD COLUMN response_cache_source_id TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN saved_nanousd INTEGER NOT NULL DEFAULT 0;

-- Whether a key's requests are cached that do not say so themselves; NULL: as the file says of all.
ALTER TABLE keys ADD COLUMN response_cache INTEGER;
