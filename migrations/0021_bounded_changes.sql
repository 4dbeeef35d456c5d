-- Changes whose work grows with the number of events are made in parts.

-- Apps that are deleted for everybody, while their rows are still being removed.
ALTER TABLE apps ADD COLUMN deleted_at BIGINT;

CREATE INDEX apps_deleted ON apps (deleted_at) WHERE deleted_at IS NOT NULL;

-- Messages that are still to be moved. With a trigger: those that it has go back into their
-- queue, where they are nobody's. Without ('') : those of the queue that are nobody's go to its
-- trigger.
CREATE TABLE message_moves (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    queue TEXT NOT NULL,
    trigger_id TEXT NOT NULL,
    PRIMARY KEY (app_id, queue, trigger_id)
);

-- A release before this one shows deleted apps, and moves no messages.
INSERT INTO schema (version, min_version) VALUES (21, 21);
