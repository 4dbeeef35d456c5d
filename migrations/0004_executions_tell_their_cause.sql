-- The execution that caused the event which started this one: with it, what a run has
-- led to can be followed.
ALTER TABLE executions ADD COLUMN caused_by TEXT;

CREATE INDEX executions_by_cause ON executions (caused_by) WHERE caused_by IS NOT NULL;
