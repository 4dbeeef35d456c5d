-- Since when a script does not answer at its own endpoint; null while it does, unless something
-- else closes it.
ALTER TABLE scripts ADD COLUMN endpoint_closed_at BIGINT;

-- A release before this one answers at every endpoint.
INSERT INTO schema (version, min_version) VALUES (12, 12);
