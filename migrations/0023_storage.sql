-- What each app keeps, as sums over its rows here: keys and their bytes, files and their bytes,
-- events that are not done and their bytes. Triggers of the database keep the numbers; they are
-- made after the migrations, in the language of each database, together with the first count.
-- On PostgreSQL an app has a row for each shard, so that nodes do not wait for each other.
CREATE TABLE storage (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    shard BIGINT NOT NULL,
    entries BIGINT NOT NULL DEFAULT 0,
    entry_bytes BIGINT NOT NULL DEFAULT 0,
    files BIGINT NOT NULL DEFAULT 0,
    file_bytes BIGINT NOT NULL DEFAULT 0,
    events BIGINT NOT NULL DEFAULT 0,
    event_bytes BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (app_id, shard)
);

-- A release before this one keeps the numbers right, because the triggers do, and refuses
-- nothing.
INSERT INTO schema (version, min_version) VALUES (23, 18);
