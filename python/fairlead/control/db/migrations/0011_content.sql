-- Whether the prompts and replies of a key's generations are kept; NULL: as [logging] content says.
ALTER TABLE keys ADD COLUMN content INTEGER;

-- What `/generation` tells and nothing counts. Sounds are NULL where nobody has counted them.
ALTER TABLE generations ADD COLUMN api_type TEXT NOT NULL DEFAULT 'completions';
ALTER TABLE generations ADD COLUMN prompt_media INTEGER NOT NULL DEFAULT 0;
ALTER TABLE generations ADD COLUMN prompt_sounds INTEGER DEFAULT 0;
ALTER TABLE generations ADD COLUMN cache_discount_nanousd INTEGER NOT NULL DEFAULT 0;
