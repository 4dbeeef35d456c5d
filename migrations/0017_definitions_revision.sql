-- Counts the transactions that changed a definition: an app, a domain, a script, a route, a
-- trigger or a secret. Each node compares it with what it has read. A commit whose events were
-- found with older definitions is made again.
CREATE TABLE revisions (
    name TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
);

INSERT INTO revisions (name, revision) VALUES ('definitions', 1);

-- A release before this one changes definitions without counting.
INSERT INTO schema (version, min_version) VALUES (17, 17);
