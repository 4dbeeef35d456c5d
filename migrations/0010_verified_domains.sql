-- A domain is served when somebody has proved that it is theirs, or an admin of the instance has
-- approved it. `verified_by` is 'dns', a principal, or 'upgrade' for a domain that was claimed
-- before there were proofs.
ALTER TABLE domains ADD COLUMN verified_at BIGINT;
ALTER TABLE domains ADD COLUMN verified_by TEXT;
UPDATE domains SET verified_at = created_at, verified_by = 'upgrade';

-- Claims without a proof. Several apps may claim one host: a claim keeps nobody else out, and
-- moves into `domains` with its proof. `token` is what the TXT record has to say.
CREATE TABLE domain_claims (
    host TEXT NOT NULL,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (host, app_id)
);

CREATE INDEX domain_claims_by_app ON domain_claims (app_id, created_at);

-- The hosts of the dashboard and of the API, as each node is configured. A node repeats its own
-- while it runs; `seen_at` is the last time.
CREATE TABLE reserved_hosts (
    host TEXT NOT NULL,
    node_id TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (host, node_id)
);

-- A release before this one takes a claim for a proof.
INSERT INTO schema (version, min_version) VALUES (10, 10);
