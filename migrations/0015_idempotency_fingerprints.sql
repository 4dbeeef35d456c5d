-- What a request was, as a hash of its path, query and body: the same key with another one is
-- refused. Rows from before have none; their scope has another form, so that no request finds
-- them, and they expire after a day.
ALTER TABLE idempotency_keys ADD COLUMN fingerprint TEXT;
