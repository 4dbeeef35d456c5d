-- What scripts keep, and what makes them run.

-- `space` is 'kv' or 'files': keys of collections and paths of buckets are kept,
-- read, listed and checked alike. A file's value describes its blob.
-- `version` is the collection's at the time of the change, so it never comes twice.
CREATE TABLE collections (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    space TEXT NOT NULL CHECK (space IN ('kv', 'files')),
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (app_id, space, name)
);

CREATE TABLE entries (
    app_id TEXT NOT NULL,
    space TEXT NOT NULL,
    collection TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    version BIGINT NOT NULL,
    expires_at BIGINT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, space, collection, name),
    FOREIGN KEY (app_id, space, collection) REFERENCES collections (app_id, space, name) ON DELETE CASCADE
);

CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;

-- The common columns of all triggers; each kind but http has a table for its own.
-- (The triggers of kind http are the routes.) `disabled_at` is null while it fires.
CREATE TABLE triggers (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('kv', 'cron', 'queue', 'pubsub', 'email', 'files', 'dead_letter')),
    disabled_at BIGINT,
    attempts_max BIGINT,
    backoff TEXT CHECK (backoff IN ('constant', 'exponential')),
    backoff_base_ms BIGINT,
    backoff_cap_ms BIGINT,
    jitter DOUBLE PRECISION,
    registered_by_principal TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX triggers_by_app ON triggers (app_id, created_at);
CREATE INDEX triggers_by_script ON triggers (script_id);

-- `operations` is a set of 'insert', 'update', 'delete', separated by commas.
CREATE TABLE triggers_kv (
    trigger_id TEXT NOT NULL PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    collection TEXT NOT NULL,
    operations TEXT NOT NULL
);

-- `due_at` is when it fires next, by the host's clock; null when it never will.
CREATE TABLE triggers_cron (
    trigger_id TEXT NOT NULL PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    expression TEXT NOT NULL,
    zone TEXT NOT NULL,
    dst TEXT NOT NULL CHECK (dst IN ('skip', 'once', 'both')),
    misfire TEXT NOT NULL CHECK (misfire IN ('skip', 'once', 'all')),
    overlap TEXT NOT NULL CHECK (overlap IN ('allow', 'forbid')),
    due_at BIGINT
);

-- A message goes to one script, so a queue has at most one trigger.
CREATE TABLE triggers_queue (
    trigger_id TEXT NOT NULL PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    app_id TEXT NOT NULL,
    queue TEXT NOT NULL,
    UNIQUE (app_id, queue)
);

CREATE TABLE triggers_pubsub (
    trigger_id TEXT NOT NULL PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    topic TEXT NOT NULL
);

CREATE TABLE triggers_email (
    trigger_id TEXT NOT NULL PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    address TEXT NOT NULL UNIQUE
);

CREATE TABLE triggers_files (
    trigger_id TEXT NOT NULL PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    bucket TEXT NOT NULL,
    path TEXT NOT NULL,
    operations TEXT NOT NULL
);

-- A filter that is null lets everything through.
CREATE TABLE triggers_dead_letter (
    trigger_id TEXT NOT NULL PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    source_kind TEXT,
    source_trigger_id TEXT,
    source_script_id TEXT
);

ALTER TABLE routes ADD COLUMN delivery TEXT NOT NULL DEFAULT 'sync' CHECK (delivery IN ('sync', 'durable', 'async'));

-- Every event that is accepted and not yet done. `source` is the queue, topic,
-- collection or bucket that it came by. Without a script it is a message of a
-- queue that has no trigger yet. `available_at` and `leased_until` are the
-- database's time; a row is waiting while `lease_token` is null.
CREATE TABLE outbox (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    trigger_id TEXT,
    script_id TEXT,
    script_version BIGINT,
    kind TEXT NOT NULL,
    operation TEXT NOT NULL,
    source TEXT NOT NULL,
    payload TEXT NOT NULL,
    principal TEXT NOT NULL,
    depth BIGINT NOT NULL,
    attempt BIGINT NOT NULL DEFAULT 0,
    available_at BIGINT NOT NULL,
    leased_until BIGINT,
    lease_token TEXT,
    reply_to TEXT,
    dedupe_key TEXT,
    dead_letter_id TEXT,
    caused_by TEXT,
    first_attempt_at BIGINT,
    last_attempt_at BIGINT,
    last_error TEXT,
    created_at BIGINT NOT NULL
);

CREATE INDEX outbox_waiting ON outbox (app_id, available_at, id) WHERE lease_token IS NULL AND script_id IS NOT NULL;
CREATE INDEX outbox_leased ON outbox (leased_until) WHERE lease_token IS NOT NULL;
CREATE INDEX outbox_by_app ON outbox (app_id, created_at);
CREATE INDEX outbox_unassigned ON outbox (app_id, source) WHERE script_id IS NULL;
CREATE INDEX outbox_by_trigger ON outbox (trigger_id) WHERE trigger_id IS NOT NULL;
CREATE UNIQUE INDEX outbox_dedupe ON outbox (app_id, source, dedupe_key) WHERE dedupe_key IS NOT NULL;

-- `resolution` is null until somebody or something has dealt with it.
CREATE TABLE dead_letters (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    event_id TEXT NOT NULL,
    trigger_id TEXT,
    script_id TEXT NOT NULL,
    script_name TEXT NOT NULL,
    script_version BIGINT NOT NULL,
    kind TEXT NOT NULL,
    operation TEXT NOT NULL,
    source TEXT NOT NULL,
    payload TEXT NOT NULL,
    principal TEXT NOT NULL,
    depth BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    first_attempt_at BIGINT NOT NULL,
    last_attempt_at BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    resolution TEXT CHECK (resolution IN ('replayed', 'ignored', 'handled_by_script', 'handler_failed')),
    resolved_at BIGINT,
    event_created_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX dead_letters_by_app ON dead_letters (app_id, created_at);
CREATE INDEX dead_letters_unresolved ON dead_letters (app_id, created_at) WHERE resolution IS NULL;
CREATE INDEX dead_letters_by_age ON dead_letters (created_at);

-- Answers whose callers had gone.
CREATE TABLE abandoned_executions (
    execution_id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    script_id TEXT NOT NULL,
    response TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX abandoned_executions_by_app ON abandoned_executions (app_id, created_at);
CREATE INDEX abandoned_executions_by_age ON abandoned_executions (created_at);

-- The first answer to a key, to be given again. `answer` is null until there is one.
CREATE TABLE idempotency_keys (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    event_id TEXT NOT NULL,
    answer TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, scope, idempotency_key)
);

CREATE INDEX idempotency_keys_by_event ON idempotency_keys (event_id);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- What started an execution, and what it belongs to.
ALTER TABLE executions ADD COLUMN event_id TEXT;
ALTER TABLE executions ADD COLUMN trigger_id TEXT;
ALTER TABLE executions ADD COLUMN parent_id TEXT;

CREATE INDEX executions_by_event ON executions (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX executions_by_parent ON executions (parent_id) WHERE parent_id IS NOT NULL;
