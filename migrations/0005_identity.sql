-- Who there is, and who may do what.

-- `password_hash` is an argon2id string; without it nobody signs in by password. An
-- invitation's token is kept as its SHA-256 only. `disabled_at` is null while the user
-- may sign in.
CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    password_hash TEXT,
    invitation_sha256 TEXT UNIQUE,
    invitation_expires_at BIGINT,
    oidc_issuer TEXT,
    oidc_subject TEXT,
    disabled_at BIGINT,
    signed_in_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (oidc_issuer, oidc_subject)
);

CREATE TABLE members (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('app_admin', 'editor', 'viewer')),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, user_id)
);

CREATE INDEX members_by_user ON members (user_id);

-- A key acts for `principal`, with no more than its scopes (separated by spaces), and
-- only in its app if it has one. `prefix` is the part that may be shown; of the whole
-- key there is only the SHA-256. `user_id` is null for the owner key's.
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    principal TEXT NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL UNIQUE,
    key_sha256 TEXT NOT NULL,
    scopes TEXT NOT NULL,
    app_id TEXT REFERENCES apps (id) ON DELETE CASCADE,
    expires_at BIGINT,
    last_used_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE INDEX api_keys_by_principal ON api_keys (principal, created_at);
CREATE INDEX api_keys_by_app ON api_keys (app_id) WHERE app_id IS NOT NULL;
CREATE INDEX api_keys_by_user ON api_keys (user_id) WHERE user_id IS NOT NULL;

-- Who did what to what, from where. No foreign keys: a row outlives what it tells of.
-- `before` and `after` are JSON without any secret value.
CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT,
    principal TEXT NOT NULL,
    principal_name TEXT NOT NULL,
    key_prefix TEXT,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    before TEXT,
    after TEXT,
    created_at BIGINT NOT NULL
);

CREATE INDEX audit_by_app ON audit (app_id, created_at) WHERE app_id IS NOT NULL;
CREATE INDEX audit_by_age ON audit (created_at);
