-- Secrets that the platform keeps for an app, such as the key that seals the credentials in
-- its stored requests. They are encrypted like other secrets; several of one name live at
-- once, and the newest that opens is used.
CREATE TABLE app_secrets (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sealed_value TEXT NOT NULL,
    wrapped_key TEXT NOT NULL,
    key_id TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX app_secrets_by_app ON app_secrets (app_id, name, created_at);
CREATE INDEX app_secrets_by_key ON app_secrets (key_id);

-- A release before this one cannot open the credentials in stored requests.
INSERT INTO schema (version, min_version) VALUES (15, 15);
