-- The dialect that SQLite and PostgreSQL share: TEXT, BIGINT, DOUBLE PRECISION.
-- Times (`*_at`) are microseconds since 1970, ids are UUIDv7 as text, JSON is text.

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE apps (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE domains (
    host TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL
);

CREATE INDEX domains_by_app ON domains (app_id);

-- `version` points at the version that runs; a rollback moves it and nothing else.
CREATE TABLE scripts (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    version BIGINT NOT NULL,
    fuel_max BIGINT,
    memory_bytes_max BIGINT,
    wall_ms_max BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (app_id, name)
);

-- Never updated.
CREATE TABLE script_versions (
    script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    source TEXT NOT NULL,
    source_sha256 TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (script_id, version)
);

-- `method` is upper case or '*'; `host` is '' under /x/{app}, else a claimed domain;
-- `shape` is the path without its parameters' names, so that two routes which
-- would answer the same request have the same shape.
CREATE TABLE routes (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
    method TEXT NOT NULL,
    host TEXT NOT NULL,
    path TEXT NOT NULL,
    shape TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (app_id, host, method, shape)
);

CREATE INDEX routes_by_script ON routes (script_id);

-- No foreign keys: a row may arrive after its script was deleted, and the rows of
-- a deleted script stay until retention takes them.
CREATE TABLE executions (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL,
    script_id TEXT NOT NULL,
    script_name TEXT NOT NULL,
    version BIGINT NOT NULL,
    status TEXT NOT NULL CHECK (status IN (
        'success', 'error', 'timeout', 'budget_exceeded', 'memory_exceeded', 'limit_exceeded', 'crashed'
    )),
    trigger_kind TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    request TEXT NOT NULL,
    response TEXT,
    log TEXT NOT NULL,
    error TEXT,
    fuel_used BIGINT NOT NULL,
    memory_peak_bytes BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT NOT NULL
);

-- By the time they finished, not by id: ids are in the order of starting, and a
-- long run would appear in the middle of pages that a reader has already passed.
CREATE INDEX executions_by_script ON executions (script_id, finished_at);
CREATE INDEX executions_by_app ON executions (app_id, finished_at);
CREATE INDEX executions_by_age ON executions (finished_at);
