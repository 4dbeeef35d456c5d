-- What a request was, as a hash of its path, query and body: the same key with another one is
-- refused. Rows from before have none; their scope has another form, so that no request finds
-- them, and they expire after a day.
ALTER TABLE idempotency_keys ADD COLUMN fingerprint TEXT;

-- A release before this one gives one caller the stored response of another.
INSERT INTO schema (version, min_version) VALUES (14, 14);
