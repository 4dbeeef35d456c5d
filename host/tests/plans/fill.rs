//! Fills tables, with the same statements on both databases.

use picloud::store::{
    AppId, ExecutionId, NewApp, NewScript, NewSource, ScriptId, ScriptLimits, Store, TriggerId,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::database::{Database, Kind};

/// The owners of the rows.
pub(crate) struct Filled {
    pub(crate) app_id: AppId,
    pub(crate) script_id: ScriptId,
    pub(crate) trigger_id: TriggerId,
    pub(crate) execution_id: ExecutionId,
    pub(crate) rows: i64,
}

fn id<T: From<Uuid>>(number: u128) -> T {
    T::from(Uuid::from_u128((7 << 76) | number))
}

/// Rows 1 to N as `n(i)`, and the id of each.
const ID: &str = "'00000000-0000-7000-9000-' || CAST(100000000000 + i AS TEXT)";

pub(crate) async fn fill(database: &Database, store: &Store, rows: u64) -> Filled {
    let (app_id, script_id): (AppId, ScriptId) = (id(1), id(2));
    let (trigger_id, execution_id): (TriggerId, ExecutionId) = (id(3), id(4));
    let app = NewApp {
        id: app_id.clone(),
        name: "shop".to_owned(),
        description: String::new(),
        created_at: 1,
    };
    store.insert_app(app).await.unwrap();
    let source = NewSource { text: "1".to_owned(), sha256: "1".to_owned() };
    let script = NewScript {
        id: script_id.clone(),
        app_id: app_id.clone(),
        name: "hello".to_owned(),
        description: String::new(),
        limits: ScriptLimits::default(),
        endpoint_enabled: true,
        source,
        created_at: 1,
    };
    store.insert_script(script).await.unwrap();
    let rows = i64::try_from(rows).unwrap();
    let filled = Filled { app_id, script_id, trigger_id, execution_id, rows };
    for statement in statements(&filled) {
        run(database, &statement).await;
    }
    // The server does this itself for a full table.
    if database.kind == Kind::Postgres {
        run(database, "VACUUM ANALYZE").await;
    }
    filled
}

async fn run(database: &Database, statement: &str) {
    let (url, query) = (&database.plain_url, sqlx::raw_sql(AssertSqlSafe(statement)));
    match database.kind {
        Kind::Sqlite => {
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            query.execute(&mut connection).await.map(drop)
        }
        Kind::Postgres => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            query.execute(&mut connection).await.map(drop)
        }
    }
    .unwrap_or_else(|error| panic!("{error}: {statement}"));
}

fn statements(of: &Filled) -> Vec<String> {
    let Filled { app_id, script_id, trigger_id, execution_id, rows } = of;
    let n = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    );
    let json = "'{\"method\":\"GET\",\"path\":\"/x/shop/hello\",\"text\":\"needle ' || \
        CAST(i AS TEXT) || ' in a request of the usual size, with a header or two\"}'";
    let insert = |table: &str, columns: &str, values: String| {
        format!("INSERT INTO {table} ({columns}) {n} SELECT {values} FROM n")
    };
    vec![
        insert(
            "executions",
            "id, app_id, script_id, script_name, version, status, trigger_kind, attempt, request, \
             response, log, error, fuel_used, memory_peak_bytes, duration_us, started_at, \
             finished_at, event_id, trigger_id, parent_id, caused_by, writer, sequence",
            format!(
                "{ID}, '{app_id}', '{script_id}', 'hello', 1, \
                 CASE WHEN i % 2 = 0 THEN 'error' ELSE 'success' END, \
                 CASE WHEN i % 3 = 0 THEN 'queue' ELSE 'http' END, 1, {json}, {json}, '[\"a\"]', \
                 CASE WHEN i % 2 = 0 THEN '{{\"message\":\"no\"}}' END, 1000, 65536, 400, i, i, \
                 {ID}, '{trigger_id}', CASE WHEN i % 100 = 0 THEN {ID} END, '{execution_id}', \
                 1 + i % 2, i"
            ),
        ),
        format!(
            "INSERT INTO writers (id, sequence) VALUES (2, {rows}) \
                 ON CONFLICT (id) DO UPDATE SET sequence = {rows}"
        ),
        format!("UPDATE writers SET sequence = {rows}"),
        insert(
            "outbox",
            "id, app_id, trigger_id, script_id, kind, operation, source, payload, principal, \
             depth, available_at, caused_by, created_at, lease_token, leased_until",
            format!(
                "{ID}, '{app_id}', '{trigger_id}', '{script_id}', \
                 CASE WHEN i % 2 = 0 THEN 'queue' ELSE 'pubsub' END, 'send', \
                 'orders' || CAST(i % 5 AS TEXT), {json}, 'owner', 0, i, '{execution_id}', i, \
                 CASE WHEN i % 3 = 0 THEN 'token' END, CASE WHEN i % 3 = 0 THEN 9000000000000000 END"
            ),
        ),
        insert(
            "dead_letters",
            "id, app_id, event_id, trigger_id, script_id, script_name, script_version, kind, \
             operation, source, payload, principal, depth, attempts, first_attempt_at, \
             last_attempt_at, last_error, resolution, event_created_at, created_at",
            format!(
                "{ID}, '{app_id}', {ID}, '{trigger_id}', '{script_id}', 'hello', 1, \
                 CASE WHEN i % 2 = 0 THEN 'queue' ELSE 'pubsub' END, 'send', 'orders', {json}, \
                 'owner', 0, 3, i, i, 'no', CASE WHEN i % 4 > 0 THEN 'ignored' END, i, i"
            ),
        ),
        insert(
            "abandoned_executions",
            "execution_id, app_id, event_id, script_id, response, created_at",
            format!("{ID}, '{app_id}', {ID}, '{script_id}', {json}, i"),
        ),
        insert(
            "audit",
            "id, app_id, principal, principal_name, address, action, resource, resource_id, \
             resource_name, created_at",
            format!(
                "{ID}, '{app_id}', 'owner', 'Ada', '', 'update_script', 'script', '{script_id}', \
                 'hello', i"
            ),
        ),
        insert(
            "collections",
            "app_id, space, name, version",
            format!("'{app_id}', 'kv', 'collection' || CAST(i AS TEXT), 1"),
        ),
        insert(
            "entries",
            "app_id, space, collection, name, value, version, expires_at, updated_at",
            format!(
                "'{app_id}', 'kv', 'collection1', 'key' || CAST(i AS TEXT), {json}, i, \
                 CASE WHEN i % 2 = 0 THEN i END, i"
            ),
        ),
        insert(
            "idempotency_keys",
            "app_id, scope, idempotency_key, event_id, created_at",
            format!("'{app_id}', 'scope', {ID}, {ID}, i"),
        ),
        insert(
            "script_versions",
            "script_id, version, source, source_sha256, created_at",
            format!("'{script_id}', i + 1, '1', '1', i"),
        ),
        insert(
            "sessions",
            "token_sha256, principal, csrf_token, created_at, seen_at, expires_at",
            format!("{ID}, 'owner', 'token', i, i, i"),
        ),
        insert(
            "freed_blobs",
            "app_id, blob, size_bytes, freed_at",
            format!("'{app_id}', {ID}, 1, i"),
        ),
    ]
}
