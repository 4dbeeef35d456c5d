//! The triggers that maintain the counters of `storage`: see [`crate::store::storage`].
//!
//! The two databases have different trigger languages. A test makes the same changes on both and
//! compares the counters with the actual rows.

/// The maximum number of `storage` rows of an app on PostgreSQL.
const SHARDS: u32 = 16;

/// On SQLite each app has one row, which is created with the app.
const SQLITE: &[&str] = &[
    "INSERT INTO storage (app_id, shard, entries, entry_bytes, files, file_bytes, events, \
     event_bytes) \
     SELECT a.id, 0, \
     (SELECT COUNT(*) FROM entries e WHERE e.app_id = a.id AND e.space = 'kv'), \
     (SELECT COALESCE(SUM(OCTET_LENGTH(e.name) + OCTET_LENGTH(e.value)), 0) FROM entries e \
      WHERE e.app_id = a.id AND e.space = 'kv'), \
     (SELECT COUNT(*) FROM entries e WHERE e.app_id = a.id AND e.space = 'files'), \
     (SELECT COALESCE(SUM(e.value->>'size_bytes'), 0) FROM entries e \
      WHERE e.app_id = a.id AND e.space = 'files') \
     + (SELECT COALESCE(SUM(f.size_bytes), 0) FROM freed_blobs f WHERE f.app_id = a.id), \
     (SELECT COUNT(*) FROM outbox o WHERE o.app_id = a.id), \
     (SELECT COALESCE(SUM(OCTET_LENGTH(o.payload)), 0) FROM outbox o WHERE o.app_id = a.id) \
     FROM apps a WHERE NOT EXISTS (SELECT 1 FROM storage s WHERE s.app_id = a.id)",
    "CREATE TRIGGER IF NOT EXISTS storage_of_app AFTER INSERT ON apps BEGIN \
     INSERT INTO storage (app_id, shard) VALUES (NEW.id, 0); END",
    "CREATE TRIGGER IF NOT EXISTS storage_kv_added AFTER INSERT ON entries \
     WHEN NEW.space = 'kv' BEGIN \
     UPDATE storage SET entries = entries + 1, \
     entry_bytes = entry_bytes + OCTET_LENGTH(NEW.name) + OCTET_LENGTH(NEW.value) \
     WHERE app_id = NEW.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_kv_changed AFTER UPDATE OF value ON entries \
     WHEN NEW.space = 'kv' BEGIN \
     UPDATE storage SET \
     entry_bytes = entry_bytes + OCTET_LENGTH(NEW.value) - OCTET_LENGTH(OLD.value) \
     WHERE app_id = NEW.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_kv_removed AFTER DELETE ON entries \
     WHEN OLD.space = 'kv' BEGIN \
     UPDATE storage SET entries = entries - 1, \
     entry_bytes = entry_bytes - OCTET_LENGTH(OLD.name) - OCTET_LENGTH(OLD.value) \
     WHERE app_id = OLD.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_file_added AFTER INSERT ON entries \
     WHEN NEW.space = 'files' BEGIN \
     UPDATE storage SET files = files + 1, \
     file_bytes = file_bytes + COALESCE(NEW.value->>'size_bytes', 0) \
     WHERE app_id = NEW.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_file_changed AFTER UPDATE OF value ON entries \
     WHEN NEW.space = 'files' BEGIN \
     UPDATE storage SET file_bytes = file_bytes + COALESCE(NEW.value->>'size_bytes', 0) \
     - COALESCE(OLD.value->>'size_bytes', 0) WHERE app_id = NEW.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_file_removed AFTER DELETE ON entries \
     WHEN OLD.space = 'files' BEGIN \
     UPDATE storage SET files = files - 1, \
     file_bytes = file_bytes - COALESCE(OLD.value->>'size_bytes', 0) \
     WHERE app_id = OLD.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_blob_freed AFTER INSERT ON freed_blobs BEGIN \
     UPDATE storage SET file_bytes = file_bytes + NEW.size_bytes WHERE app_id = NEW.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_blob_removed AFTER DELETE ON freed_blobs BEGIN \
     UPDATE storage SET file_bytes = file_bytes - OLD.size_bytes WHERE app_id = OLD.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_event_added AFTER INSERT ON outbox BEGIN \
     UPDATE storage SET events = events + 1, \
     event_bytes = event_bytes + OCTET_LENGTH(NEW.payload) WHERE app_id = NEW.app_id; END",
    "CREATE TRIGGER IF NOT EXISTS storage_event_removed AFTER DELETE ON outbox BEGIN \
     UPDATE storage SET events = events - 1, \
     event_bytes = event_bytes - OCTET_LENGTH(OLD.payload) WHERE app_id = OLD.app_id; END",
];

/// Returns the statements for SQLite; they can run repeatedly.
pub(super) fn sqlite() -> Vec<String> {
    SQLITE.iter().map(|statement| (*statement).to_owned()).collect()
}

/// Returns the statements for PostgreSQL. A connection updates the row given by its process number,
/// once per statement. Removals from a deleted app are not counted: its counters are deleted too.
///
/// One transaction counts the existing rows and creates the triggers; it locks out other writers.
pub(super) fn postgres() -> Vec<String> {
    let is_there = "EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = 'storage_event_removed' \
        AND tgrelid = 'outbox'::regclass)";
    let events = |of: &str, sign: &str, apps: &str| {
        format!(
            "INSERT INTO storage AS s (app_id, shard, events, event_bytes) \
             SELECT d.app_id, pg_backend_pid() % {SHARDS}, {sign}COUNT(*), \
             {sign}SUM(OCTET_LENGTH(d.payload)) FROM {of} d {apps} \
             GROUP BY d.app_id ORDER BY d.app_id ON CONFLICT (app_id, shard) DO UPDATE SET \
             events = s.events + excluded.events, event_bytes = s.event_bytes + excluded.event_bytes"
        )
    };
    let blobs = |of: &str, sign: &str| {
        format!(
            "INSERT INTO storage AS s (app_id, shard, file_bytes) \
             SELECT d.app_id, pg_backend_pid() % {SHARDS}, {sign}SUM(d.size_bytes) \
             FROM {of} d {OF_LIVING_APPS} GROUP BY d.app_id ORDER BY d.app_id \
             ON CONFLICT (app_id, shard) DO UPDATE SET \
             file_bytes = s.file_bytes + excluded.file_bytes"
        )
    };
    let (added, removed) = (rows_of_entries("added", 1), rows_of_entries("removed", -1));
    let install = format!(
        "DO $do$ BEGIN \
         IF {is_there} THEN RETURN; END IF; \
         LOCK TABLE entries, freed_blobs, outbox IN SHARE ROW EXCLUSIVE MODE; \
         IF {is_there} THEN RETURN; END IF; \
         DELETE FROM storage; {first_entries}; {first_blobs}; {first_events}; \
         CREATE FUNCTION picloud_count_events() RETURNS trigger LANGUAGE plpgsql AS $fn$ BEGIN \
         IF TG_OP = 'INSERT' THEN {events_added}; ELSE {events_removed}; END IF; \
         RETURN NULL; END $fn$; \
         CREATE FUNCTION picloud_count_entries() RETURNS trigger LANGUAGE plpgsql AS $fn$ BEGIN \
         IF TG_OP = 'INSERT' THEN {inserted}; ELSIF TG_OP = 'DELETE' THEN {deleted}; \
         ELSE {updated}; END IF; RETURN NULL; END $fn$; \
         CREATE TRIGGER storage_entry_added AFTER INSERT ON entries \
         REFERENCING NEW TABLE AS added \
         FOR EACH STATEMENT EXECUTE FUNCTION picloud_count_entries(); \
         CREATE TRIGGER storage_entry_changed AFTER UPDATE ON entries \
         REFERENCING NEW TABLE AS added OLD TABLE AS removed \
         FOR EACH STATEMENT EXECUTE FUNCTION picloud_count_entries(); \
         CREATE TRIGGER storage_entry_removed AFTER DELETE ON entries \
         REFERENCING OLD TABLE AS removed \
         FOR EACH STATEMENT EXECUTE FUNCTION picloud_count_entries(); \
         CREATE FUNCTION picloud_count_blobs() RETURNS trigger LANGUAGE plpgsql AS $fn$ BEGIN \
         IF TG_OP = 'INSERT' THEN {blobs_freed}; ELSE {blobs_removed}; END IF; \
         RETURN NULL; END $fn$; \
         CREATE TRIGGER storage_blob_freed AFTER INSERT ON freed_blobs \
         REFERENCING NEW TABLE AS added \
         FOR EACH STATEMENT EXECUTE FUNCTION picloud_count_blobs(); \
         CREATE TRIGGER storage_blob_removed AFTER DELETE ON freed_blobs \
         REFERENCING OLD TABLE AS removed \
         FOR EACH STATEMENT EXECUTE FUNCTION picloud_count_blobs(); \
         CREATE TRIGGER storage_event_added AFTER INSERT ON outbox \
         REFERENCING NEW TABLE AS added \
         FOR EACH STATEMENT EXECUTE FUNCTION picloud_count_events(); \
         CREATE TRIGGER storage_event_removed AFTER DELETE ON outbox \
         REFERENCING OLD TABLE AS removed \
         FOR EACH STATEMENT EXECUTE FUNCTION picloud_count_events(); \
         END $do$",
        first_entries = count_entries(&rows_of_entries("entries", 1)),
        first_blobs = blobs("freed_blobs", ""),
        blobs_freed = blobs("added", ""),
        blobs_removed = blobs("removed", "-"),
        first_events = events("outbox", "", ""),
        events_added = events("added", "", ""),
        events_removed = events("removed", "-", OF_LIVING_APPS),
        inserted = count_entries(&added),
        deleted = count_entries(&removed),
        updated = count_entries(&format!("{added} UNION ALL {removed}")),
    );
    // Every commit changes a row of this table.
    let vacuum = "ALTER TABLE storage SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, \
        autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0)";
    vec![install, vacuum.to_owned()]
}

const OF_LIVING_APPS: &str = "JOIN apps a ON a.id = d.app_id";

/// Returns a query for rows of entries, each counted `n` times.
fn rows_of_entries(table: &str, n: i64) -> String {
    format!("SELECT app_id, space, name, value, {n} AS n FROM {table}")
}

/// Returns a statement that adds rows of entries to the counters.
fn count_entries(rows: &str) -> String {
    format!(
        "INSERT INTO storage AS s (app_id, shard, entries, entry_bytes, files, file_bytes) \
         SELECT d.app_id, pg_backend_pid() % {SHARDS}, \
         COALESCE(SUM(d.n) FILTER (WHERE d.space = 'kv'), 0), \
         COALESCE(SUM(d.n * (OCTET_LENGTH(d.name) + OCTET_LENGTH(d.value))) \
         FILTER (WHERE d.space = 'kv'), 0), \
         COALESCE(SUM(d.n) FILTER (WHERE d.space = 'files'), 0), \
         COALESCE(SUM(d.n * CASE WHEN d.space = 'files' \
         THEN CAST(CAST(d.value AS json)->>'size_bytes' AS BIGINT) END), 0) \
         FROM ({rows}) d {OF_LIVING_APPS} \
         GROUP BY d.app_id ORDER BY d.app_id ON CONFLICT (app_id, shard) DO UPDATE SET \
         entries = s.entries + excluded.entries, \
         entry_bytes = s.entry_bytes + excluded.entry_bytes, \
         files = s.files + excluded.files, file_bytes = s.file_bytes + excluded.file_bytes"
    )
}
