-- Every list is found by an index, in its order: the cost of a page does not grow with the table.
-- Failures, events and causes have indexes of their own, which other executions do not pay for.
CREATE INDEX executions_ended_by_app ON executions (app_id, finished_at, id);
CREATE INDEX executions_ended_by_script ON executions (script_id, finished_at, id);
CREATE INDEX executions_failed_by_app ON executions (app_id, status, finished_at, id) WHERE status <> 'success';
CREATE INDEX executions_failed_by_script ON executions (script_id, status, finished_at, id) WHERE status <> 'success';
CREATE INDEX executions_ended_by_trigger ON executions (trigger_id, finished_at, id) WHERE trigger_id IS NOT NULL;
CREATE INDEX executions_ended_by_cause ON executions (caused_by, finished_at, id) WHERE caused_by IS NOT NULL;
DROP INDEX executions_by_app;
DROP INDEX executions_by_script;
DROP INDEX executions_by_cause;

CREATE INDEX outbox_accepted_by_app ON outbox (app_id, created_at, id);
CREATE INDEX outbox_accepted_by_place ON outbox (app_id, kind, source, created_at, id);
CREATE INDEX outbox_accepted_by_trigger ON outbox (trigger_id, created_at, id) WHERE trigger_id IS NOT NULL;
CREATE INDEX outbox_accepted_by_cause ON outbox (caused_by, created_at, id) WHERE caused_by IS NOT NULL;
DROP INDEX outbox_by_app;
DROP INDEX outbox_by_trigger;

CREATE INDEX dead_letters_made_by_app ON dead_letters (app_id, created_at, id);
CREATE INDEX dead_letters_made_by_kind ON dead_letters (app_id, kind, created_at, id);
CREATE INDEX dead_letters_made_by_script ON dead_letters (script_id, created_at, id);
CREATE INDEX dead_letters_made_by_trigger ON dead_letters (trigger_id, created_at, id) WHERE trigger_id IS NOT NULL;
CREATE INDEX dead_letters_open_by_app ON dead_letters (app_id, created_at, id) WHERE resolution IS NULL;
CREATE INDEX dead_letters_open_by_kind ON dead_letters (app_id, kind, created_at, id) WHERE resolution IS NULL;
CREATE INDEX dead_letters_open_by_script ON dead_letters (script_id, created_at, id) WHERE resolution IS NULL;
CREATE INDEX dead_letters_open_by_trigger ON dead_letters (trigger_id, created_at, id) WHERE resolution IS NULL AND trigger_id IS NOT NULL;
DROP INDEX dead_letters_by_app;
DROP INDEX dead_letters_unresolved;

CREATE INDEX abandoned_executions_made_by_app ON abandoned_executions (app_id, created_at, execution_id);
DROP INDEX abandoned_executions_by_app;

CREATE INDEX audit_noted ON audit (created_at, id);
CREATE INDEX audit_noted_by_app ON audit (app_id, created_at, id) WHERE app_id IS NOT NULL;
CREATE INDEX audit_noted_by_principal ON audit (principal, created_at, id);
CREATE INDEX audit_noted_by_action ON audit (action, created_at, id);
CREATE INDEX audit_noted_by_resource ON audit (resource_id, created_at, id);
DROP INDEX audit_by_app;
DROP INDEX audit_by_age;

INSERT INTO schema (version, min_version) VALUES (20, 18);
