-- Whether a key's requests are refused when a translation would lose something.
ALTER TABLE keys ADD COLUMN strict_translation INTEGER NOT NULL DEFAULT 0;
