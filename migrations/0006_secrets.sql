-- Secrets of apps, as bytes that only the master key opens. The value is encrypted with
-- a data key of its own, and that with the master key, so that another master key means
-- other wrapped keys and the same values. Both are bound to app and name.
CREATE TABLE secrets (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    -- Base64: nonce, ciphertext and tag.
    sealed_value TEXT NOT NULL,
    wrapped_key TEXT NOT NULL,
    -- Which master key the data key is wrapped with.
    key_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, name)
);

CREATE INDEX secrets_by_key ON secrets (key_id);
