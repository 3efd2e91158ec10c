-- Requests to free models (the flag 256), so that a start counts those of the day without looking at all others.
CREATE INDEX generations_free ON generations (started_at_ms, account_id) WHERE flags & 256;
