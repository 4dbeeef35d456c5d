//! A whole platform without a socket, whose events run the script of a queue.

use std::time::{Duration, Instant};

use futures::future::join_all;
use picloud::App;
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::store::{
    AppId, DatabaseUrl, EventFilter, EventId, ExecutionFilter, ExecutionScope, Json, NewApp,
    NewEvent, NewScript, NewSource, Page, RetryOverrides, ScriptId, ScriptLimits, Store, Trigger,
    TriggerDetail, TriggerId, TriggerKind,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The script of the queue: reads its event and returns a value.
const SOURCE: &str = "ctx.event.queue.payload.n + 1";
/// The number of events of one measurement.
pub const EVENTS: u64 = 5_000;
/// The number of concurrent callers. Each appends one event at a time, like requests do.
const CALLERS: u64 = 64;

/// Returns the databases to measure, each with the URL of its server if it has one.
#[must_use]
pub fn databases() -> Vec<(&'static str, Option<String>)> {
    let mut databases = vec![("sqlite", None)];
    if let Ok(url) = std::env::var("PICLOUD_TEST_POSTGRES_URL") {
        databases.push(("postgres", Some(url)));
    }
    databases
}

/// A running platform.
pub struct Platform {
    store: Store,
    clock: Clock,
    app_id: AppId,
    script_id: ScriptId,
    trigger_id: TriggerId,
    stop: watch::Sender<bool>,
    dispatcher: JoinHandle<()>,
    _data: TempDir,
}

#[expect(clippy::expect_used, reason = "a bench that cannot start has nothing to measure")]
impl Platform {
    /// Starts a platform on a new SQLite file, or on a new database of a server.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(server: Option<&str>) -> Self {
        let data = TempDir::new().expect("a data folder");
        let config = Config {
            data: data.path().to_owned(),
            database: match server {
                None => None,
                Some(server) => Some(fresh_database(server).await),
            },
            ..Config::default()
        };
        let clock = Clock::system();
        let app = App::build(&config, clock.clone()).await.expect("a platform");
        let stop = watch::Sender::new(false);
        let dispatcher = tokio::spawn(app.dispatcher.run(stop.subscribe()));
        let (app_id, script_id) = (AppId::from(clock.new_id()), ScriptId::from(clock.new_id()));
        let trigger_id = TriggerId::from(clock.new_id());
        let platform = Self {
            store: app.store,
            clock,
            app_id,
            script_id,
            trigger_id,
            stop,
            dispatcher,
            _data: data,
        };
        platform.define().await;
        platform
    }

    async fn define(&self) {
        let now = self.clock.now_us();
        let (name, description) = ("bench".to_owned(), String::new());
        let id = self.app_id.clone();
        let app =
            NewApp { id, name: name.clone(), description: description.clone(), created_at: now };
        self.store.insert_app(app).await.expect("an app");
        let script = NewScript {
            id: self.script_id.clone(),
            app_id: self.app_id.clone(),
            name,
            description,
            limits: ScriptLimits::default(),
            endpoint_enabled: true,
            source: NewSource {
                text: SOURCE.to_owned(),
                sha256: hex::encode(Sha256::digest(SOURCE)),
            },
            created_at: now,
        };
        self.store.insert_script(script).await.expect("a script");
        let trigger = Trigger {
            registrant: None,
            id: self.trigger_id.clone(),
            app_id: self.app_id.clone(),
            script_id: self.script_id.clone(),
            disabled_at: None,
            retry: RetryOverrides::default(),
            registered_by_principal: "owner".to_owned(),
            created_at: now,
            updated_at: now,
            detail: TriggerDetail::Queue { queue: "bench".to_owned() },
        };
        self.store.insert_trigger(trigger).await.expect("a trigger");
    }

    /// Appends `count` events, each in its own request, and waits until all are done.
    ///
    /// # Panics
    /// If an event is refused or given up.
    pub async fn send_and_wait(&self, count: u64) {
        let each = count / CALLERS;
        let callers = (0..CALLERS).map(|caller| async move {
            let count = if caller == 0 { each + count % CALLERS } else { each };
            for n in 0..count {
                self.append(n).await;
            }
        });
        join_all(callers).await;
        self.wait_until_done().await;
    }

    async fn append(&self, n: u64) -> EventId {
        let id = EventId::from(self.clock.new_id());
        let event = NewEvent {
            id: id.clone(),
            app_id: self.app_id.clone(),
            trigger_id: Some(self.trigger_id.clone()),
            script_id: Some(self.script_id.clone()),
            script_version: None,
            kind: TriggerKind::Queue,
            operation: "send".to_owned(),
            source: "bench".to_owned(),
            payload: Json::from_text(format!(r#"{{"queue":"bench","payload":{{"n":{n}}}}}"#)),
            principal: "owner".to_owned(),
            depth: 1,
            delay_us: 0,
            reply_to: None,
            dedupe_key: None,
            dead_letter_id: None,
            caused_by: None,
            created_at: self.clock.now_us(),
        };
        self.store.append_events(vec![event], None).await.expect("an accepted event");
        id
    }

    async fn wait_until_done(&self) {
        let first = Page { limit: 1, offset: 0 };
        loop {
            let filter = EventFilter::default();
            let left = self.store.list_events(&self.app_id, &filter, first).await.expect("events");
            if left.rows.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns the sum of `count` times from appending an event to the start of its script, on an
    /// otherwise idle platform.
    ///
    /// # Panics
    /// If an event is refused.
    pub async fn time_to_start(&self, count: u64) -> Duration {
        let mut sum = Duration::ZERO;
        for n in 0..count {
            let (began_at, began) = (self.clock.now_us(), Instant::now());
            self.append(n).await;
            self.wait_until_done().await;
            let scope = ExecutionScope::Script(self.script_id.clone());
            let newest = Page { limit: 1, offset: 0 };
            let filter = ExecutionFilter::default();
            let rows = self.store.list_executions(&scope, &filter, newest).await.expect("rows");
            let us = rows[0].started_at - began_at;
            sum += Duration::from_micros(u64::try_from(us).unwrap_or(0)).min(began.elapsed());
        }
        sum
    }

    /// Stops the platform.
    ///
    /// # Panics
    /// If anything could not be committed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.dispatcher.await.expect("a dispatcher");
        self.store.close().await.expect("everything committed");
    }
}

#[expect(clippy::expect_used, reason = "a bench that cannot start has nothing to measure")]
async fn fresh_database(server: &str) -> DatabaseUrl {
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
    let name = format!("picloud_bench_{}", std::process::id());
    let mut connection = PgConnection::connect(server).await.expect("a server");
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    connection.execute(create).await.expect("a database");
    let (address, _) = server.rsplit_once('/').expect("a URL that ends in a database's name");
    format!("{address}/{name}").parse().expect("a database URL")
}
