-- Presets and splits that are made while the gateway runs. `fairlead.toml` has its own; a name is in one of the two places.

-- `kind` is `preset` or `split`; `version` is the one in force. What was deleted keeps its versions, and goes on from them when it is made again.
CREATE TABLE names (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('preset', 'split')),
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    deleted_at_ms INTEGER,
    UNIQUE (kind, name)
);

-- Each thing that a name has stood for, with who said so. `definition` is JSON: the table that would stand in the file.
CREATE TABLE name_versions (
    name_id INTEGER NOT NULL REFERENCES names (id),
    version INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    note TEXT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (name_id, version)
) WITHOUT ROWID;
