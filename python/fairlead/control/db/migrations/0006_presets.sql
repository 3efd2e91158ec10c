-- Which presets a generation was asked with, and which versions of them.

-- Names as the configuration has them, in the order in which they count, a comma between two; empty where none was named.
ALTER TABLE generations ADD COLUMN preset TEXT NOT NULL DEFAULT '';
-- Likewise; each names what its preset said at that moment.
ALTER TABLE generations ADD COLUMN preset_version TEXT NOT NULL DEFAULT '';
