-- A key that was made with a key is revoked with it.
ALTER TABLE api_keys ADD COLUMN made_with TEXT REFERENCES api_keys (id) ON DELETE CASCADE;

CREATE INDEX api_keys_by_key ON api_keys (made_with) WHERE made_with IS NOT NULL;

-- A release before this one does not revoke keys with the key that made them.
INSERT INTO schema (version, min_version) VALUES (13, 13);
