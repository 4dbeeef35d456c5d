-- Browsers that are signed in. The cookie's token is kept as its SHA-256 only, so
-- that who reads the database cannot use it. A session that is over stays until it
-- is swept; nobody finds it.
CREATE TABLE sessions (
    token_sha256 TEXT NOT NULL PRIMARY KEY,
    principal TEXT NOT NULL,
    csrf_token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_by_principal ON sessions (principal);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
