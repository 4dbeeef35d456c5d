-- Executions without effects, hundreds in one row: their ids, then the rest compressed. A block has
-- executions of one app that one writer has numbered. Their ids and their ends lie within an hour of
-- each other, so that a block is found from an id or a time by a range of an index.
CREATE TABLE execution_blocks (
    last_id TEXT NOT NULL,
    first_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    writer BIGINT NOT NULL,
    first_sequence BIGINT NOT NULL,
    last_sequence BIGINT NOT NULL,
    first_finished_at BIGINT NOT NULL,
    last_finished_at BIGINT NOT NULL,
    executions BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (last_id, first_id)
);

CREATE INDEX execution_blocks_by_app ON execution_blocks (app_id, last_finished_at, last_id, first_finished_at);
CREATE INDEX execution_blocks_by_age ON execution_blocks (last_finished_at, last_id, bytes);
CREATE INDEX execution_blocks_by_writer ON execution_blocks (app_id, writer, last_sequence);

-- The scripts whose executions a block has.
CREATE TABLE execution_block_scripts (
    script_id TEXT NOT NULL,
    last_finished_at BIGINT NOT NULL,
    last_id TEXT NOT NULL,
    first_id TEXT NOT NULL,
    PRIMARY KEY (script_id, last_finished_at, last_id, first_id)
);

-- A new installation limits the size of its log. One from before this release keeps its retention by
-- age until it sets a limit.
INSERT INTO settings (name, value, updated_at)
SELECT 'execution_log_by_age', 'untold', 0 WHERE EXISTS (SELECT 1 FROM settings);

-- A release before this one does not list these executions, and does no harm to them.
INSERT INTO schema (version, min_version) VALUES (24, 18);
