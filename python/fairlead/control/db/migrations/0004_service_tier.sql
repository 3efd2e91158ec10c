-- The service tier that an attempt was billed by: `default`, `flex`, `priority` and so on; empty where the record is older than tiers.
ALTER TABLE attempts ADD COLUMN service_tier TEXT NOT NULL DEFAULT '';
