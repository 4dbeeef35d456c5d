//! Stores, rows and obstacles for the tests. Ids and times are counted, so that a failing test
//! fails in the same way again.

use std::sync::atomic::{AtomicU64, Ordering};

use picloud::store::{
    App, AppId, Delivery, Domain, Execution, ExecutionId, ExecutionStatus, Json, NewApp, NewClaim,
    NewScript, NewSource, Page, Route, RouteId, RoutePolicy, Script, ScriptId, ScriptLimits, Store,
    TriggerKind,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::database::{Database, Kind};

pub(crate) const ALL: Page = Page { limit: 1_000, offset: 0 };

/// Returns a number larger than all before it.
pub(crate) fn next() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1_700_000_000_000_000);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Returns the time "now", µs.
pub(crate) fn now() -> i64 {
    next().cast_signed()
}

/// Returns an id that sorts after all before it, like UUIDv7.
pub(crate) fn id<T: From<Uuid>>() -> T {
    let count = u128::from(next());
    T::from(Uuid::from_u128(((count >> 12) << 80) | (7 << 76) | ((count & 0xfff) << 64)))
}

pub(crate) async fn open(database: &Database) -> Store {
    Store::open(&database.url).await.unwrap()
}

pub(crate) fn new_app(name: &str) -> NewApp {
    NewApp { id: id(), name: name.to_owned(), description: String::new(), created_at: now() }
}

pub(crate) async fn app(store: &Store, name: &str) -> App {
    store.insert_app(new_app(name)).await.unwrap()
}

pub(crate) fn source(text: &str) -> NewSource {
    NewSource { text: text.to_owned(), sha256: format!("sha256 of {text}") }
}

pub(crate) fn new_script(app_id: &AppId, name: &str) -> NewScript {
    NewScript {
        id: id(),
        app_id: app_id.clone(),
        name: name.to_owned(),
        description: String::new(),
        limits: ScriptLimits::default(),
        endpoint_enabled: true,
        source: source("1"),
        created_at: now(),
    }
}

pub(crate) async fn script(store: &Store, app_id: &AppId, name: &str) -> Script {
    store.insert_script(new_script(app_id, name)).await.unwrap()
}

pub(crate) async fn domain_of(store: &Store, app_id: &AppId, host: &str) -> Domain {
    store.claim_domain(new_claim(app_id, host)).await.unwrap();
    store.verify_domain(app_id, host, "dns", now()).await.unwrap()
}

pub(crate) fn new_claim(app_id: &AppId, host: &str) -> NewClaim {
    let (host, token) = (host.to_owned(), format!("token of {host}"));
    NewClaim { host, app_id: app_id.clone(), token, created_at: now() }
}

/// Returns a route to `script` whose shape is its path.
pub(crate) fn route(script: &Script, method: &str, host: &str, path: &str) -> Route {
    Route {
        id: id::<RouteId>(),
        app_id: script.app_id.clone(),
        script_id: script.id.clone(),
        method: method.to_owned(),
        host: host.to_owned(),
        path: path.to_owned(),
        shape: path.to_owned(),
        delivery: Delivery::Sync,
        policy: RoutePolicy::default(),
        created_at: now(),
    }
}

/// Returns a run that finished now.
pub(crate) fn execution(app_id: &AppId, script_id: &ScriptId) -> Execution {
    let started_at = now();
    Execution {
        id: id::<ExecutionId>(),
        app_id: app_id.clone(),
        script_id: script_id.clone(),
        script_name: "hello".to_owned(),
        version: 3,
        status: ExecutionStatus::Success,
        trigger_kind: TriggerKind::Http,
        attempt: 1,
        request: Json::of(&"GET /").unwrap(),
        response: Some(Json::of(&200).unwrap()),
        log: Json::of(&["hello"]).unwrap(),
        error: None,
        fuel_used: i64::MAX,
        memory_peak_bytes: 65_536,
        duration_us: 40,
        started_at,
        finished_at: now(),
        event_id: None,
        trigger_id: None,
        parent_id: None,
        caused_by: None,
    }
}

/// Returns a run that failed now. It is a row of its own, not in a block.
pub(crate) fn failure(app_id: &AppId, script_id: &ScriptId) -> Execution {
    Execution { status: ExecutionStatus::Error, ..execution(app_id, script_id) }
}

/// A separate connection to the store's database, to inspect it or to lock it.
pub(crate) enum Plain {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Plain {
    pub(crate) async fn connect(database: &Database) -> Self {
        let url = &database.plain_url;
        match database.kind {
            Kind::Sqlite => Self::Sqlite(SqliteConnection::connect(url).await.unwrap()),
            Kind::Postgres => Self::Postgres(PgConnection::connect(url).await.unwrap()),
        }
    }

    pub(crate) async fn execute(&mut self, statement: &str) {
        let query = sqlx::raw_sql(AssertSqlSafe(statement));
        match self {
            Self::Sqlite(connection) => query.execute(connection).await.map(drop),
            Self::Postgres(connection) => query.execute(connection).await.map(drop),
        }
        .unwrap();
    }

    /// Returns the rows of a query with two numbers.
    pub(crate) async fn pairs(&mut self, query: &str) -> Vec<(i64, i64)> {
        let query = AssertSqlSafe(query.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query_as(query).fetch_all(connection).await,
            Self::Postgres(connection) => sqlx::query_as(query).fetch_all(connection).await,
        }
        .unwrap()
    }

    /// Makes every write to `table` wait until [`Plain::let_go`].
    pub(crate) async fn hold(&mut self, table: &str) {
        match self {
            Self::Sqlite(_) => self.execute("BEGIN IMMEDIATE").await,
            Self::Postgres(_) => {
                self.execute(&format!("BEGIN; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))
                    .await;
            }
        }
    }

    pub(crate) async fn let_go(&mut self) {
        self.execute("ROLLBACK").await;
    }
}
