-- What is left when something is gone. The contents of files lie in the data folder, outside of
-- transactions: the first two tables say which of them may be removed.

-- Contents that no file describes, seen in the data folder. One is removed when it is seen
-- again a day after it was seen first.
CREATE TABLE orphan_blobs (
    app_id TEXT NOT NULL,
    blob TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, blob)
);

-- Contents of files that a commit has overwritten or deleted.
CREATE TABLE freed_blobs (
    app_id TEXT NOT NULL,
    blob TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    freed_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, blob)
);

CREATE INDEX freed_blobs_by_time ON freed_blobs (freed_at);

-- Apps that were deleted: only their folders, and those of apps that exist, are swept.
CREATE TABLE deleted_apps (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    deleted_at BIGINT NOT NULL
);

-- Scripts that were deleted: what comes too late for one becomes a dead letter with its name.
CREATE TABLE deleted_scripts (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    deleted_at BIGINT NOT NULL
);

CREATE INDEX deleted_scripts_by_app ON deleted_scripts (app_id);

-- A release before this one removes contents by their age alone, which is no danger to a
-- database that has these tables.
INSERT INTO schema (version, min_version) VALUES (16, 15);
