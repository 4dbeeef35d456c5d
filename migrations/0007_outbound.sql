-- What scripts of an app may reach beside the public internet: hosts, each with or
-- without a port, separated by spaces.
CREATE TABLE outbound (
    app_id TEXT NOT NULL PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    private_hosts TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
