-- What requests are searched by. The time comes second in each index, so that a page is read in its order wherever it begins.

-- Whether another attempt followed one that failed.
ALTER TABLE generations ADD COLUMN retried INTEGER NOT NULL DEFAULT 0;
-- Who it was sent for: the host of the referer, else the title.
ALTER TABLE generations ADD COLUMN app TEXT GENERATED ALWAYS AS (
    substr(CASE WHEN referer = '' THEN title WHEN instr(referer, '//') = 0 THEN referer
        ELSE lower(substr(substr(referer, instr(referer, '//') + 2), 1, instr(substr(referer, instr(referer, '//') + 2) || '/', '/') - 1))
    END, 1, 100)
) VIRTUAL;

-- 128 marks a shadow's attempt; the words are endings that are nobody's fault.
UPDATE generations SET retried = 1 WHERE id IN (
    SELECT earlier.generation_id FROM attempts AS earlier JOIN attempts AS later
    ON later.generation_id = earlier.generation_id AND later.n > earlier.n AND later.flags & 128 = 0
    WHERE earlier.flags & 128 = 0 AND earlier.error NOT IN ('', 'overtaken', 'client_gone', 'shutting_down', 'interrupted'));

CREATE INDEX generations_settled ON generations (settled_at_ms);
CREATE INDEX generations_key ON generations (key_id, settled_at_ms);
CREATE INDEX generations_model ON generations (model, settled_at_ms);
CREATE INDEX generations_provider ON generations (provider, settled_at_ms);
CREATE INDEX generations_team ON generations (team_id, settled_at_ms) WHERE team_id <> 0;
CREATE INDEX generations_user ON generations (user_id, settled_at_ms) WHERE user_id <> 0;
CREATE INDEX generations_app ON generations (app, settled_at_ms) WHERE app <> '';
CREATE INDEX generations_end_user ON generations (end_user, settled_at_ms) WHERE end_user <> '';
CREATE INDEX generations_session ON generations (session_id, settled_at_ms) WHERE session_id <> '';
CREATE INDEX generations_failed ON generations (settled_at_ms) WHERE outcome = 'failed';
CREATE INDEX generations_retried ON generations (settled_at_ms) WHERE retried = 1;
