-- Which releases may use this database: one row for each migration from this one on.
-- `min_version` is the newest migration that a release must know to use a database which has
-- this migration. An additive migration takes the `min_version` of the row before it.
CREATE TABLE schema (
    version BIGINT NOT NULL PRIMARY KEY,
    min_version BIGINT NOT NULL
);

INSERT INTO schema (version, min_version) VALUES (9, 9);
