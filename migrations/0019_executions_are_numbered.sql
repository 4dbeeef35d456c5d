-- Executions are numbered in the order in which they are committed, so that the log can be followed.
-- Whoever writes executions increments the row of its writer in the same transaction, and so holds
-- it locked until the commit: of the executions of one writer, a smaller sequence was committed first.
CREATE TABLE writers (
    id BIGINT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL
);

-- Writer 0 stands for executions without a number: those from before, and those of a node with a
-- release before this one. They are followed by the time at which they finished.
ALTER TABLE executions ADD COLUMN writer BIGINT NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;

CREATE INDEX executions_numbered_by_app ON executions (app_id, writer, sequence) WHERE writer > 0;
CREATE INDEX executions_numbered_by_script ON executions (script_id, writer, sequence) WHERE writer > 0;
CREATE INDEX executions_unnumbered_by_app ON executions (app_id, writer, finished_at, id) WHERE writer = 0;
CREATE INDEX executions_unnumbered_by_script ON executions (script_id, writer, finished_at, id) WHERE writer = 0;

INSERT INTO schema (version, min_version) VALUES (19, 18);
