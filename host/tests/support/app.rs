//! The whole server but its socket, on a fresh database, and a client for it.
//!
//! Included by a test binary beside `compiled_guest.rs` and `database.rs`:
//! `#[path = "../support/app.rs"] mod app;`
//!
//! Its time is counted: every look at the clock is a minute later than the one
//! before, so that no order of rows depends on how fast a machine is. Its random
//! bytes are counted too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use picloud::App;
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::executor::Executor;
use picloud::orchestrator::retention::Retention;
use picloud::orchestrator::scheduler::Scheduler;
use picloud::store::Store;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::compiled_guest;
use crate::database::Database;

/// The owner key of every test's server.
pub(crate) const OWNER_KEY: &str = "owner-key-of-the-tests-0123456789";
/// The password of every test's first owner, `admin`.
pub(crate) const ADMIN_PASSWORD: &str = "password of the tests";
/// How many executions a test's server runs at once.
pub(crate) const SLOTS: usize = 8;
/// Where every call comes from, unless it says otherwise.
pub(crate) const CALLER: &str = "192.0.2.7";

const MINUTE_US: i64 = 60 * 1_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
/// 2026-01-01T00:00:00Z.
const BEGINNING_US: i64 = 1_767_225_600 * 1_000_000;

/// A server for one test.
pub(crate) struct TestApp {
    router: Router,
    store: Store,
    executor: Executor,
    retention: Retention,
    dispatcher: JoinHandle<()>,
    scheduler: Scheduler,
    stop: watch::Sender<bool>,
    now_us: Arc<AtomicI64>,
    config: Config,
    /// The data folder; gone with the app.
    _data: TempDir,
}

impl TestApp {
    /// A server with the default settings, but for [`SLOTS`].
    pub(crate) async fn start(database: &Database) -> Self {
        Self::start_with(database, &[]).await
    }

    /// A server with these variables in its environment.
    pub(crate) async fn start_with(database: &Database, variables: &[(&str, &str)]) -> Self {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a data folder");
        compiled_guest::place(data.path());
        let (slots, url) = (SLOTS.to_string(), database.url.to_string());
        let ours = [
            ("PICLOUD_DATA", data.path().to_str().expect("a path in UTF-8")),
            ("PICLOUD_DATABASE_URL", &url),
            ("PICLOUD_OWNER_KEY", OWNER_KEY),
            ("PICLOUD_ADMIN_PASSWORD", ADMIN_PASSWORD),
            ("PICLOUD_MAX_CONCURRENCY", &slots),
            // A test that means to find no slot sets this itself; no other should
            // depend on how fast the machine is.
            ("PICLOUD_QUEUE_TIMEOUT_MS", "600000"),
            // No test asks the DNS of the machine; nobody answers here.
            ("PICLOUD_DNS_SERVER", "127.0.0.1:1"),
        ];
        let variables = ours.iter().chain(variables);
        let loaded = Config::read(variables.map(|&(name, value)| (name.to_owned(), value.into())))
            .expect("settings that are right");
        assert_eq!(loaded.warnings, [""; 0], "settings that exist");
        let now_us = Arc::new(AtomicI64::new(BEGINNING_US));
        let stop = watch::Sender::new(false);
        let app = App::build(&loaded.config, counted_clock(&now_us)).await.expect("a server");
        Self {
            router: app.router,
            store: app.store,
            executor: app.executor,
            retention: app.retention,
            dispatcher: tokio::spawn(app.dispatcher.run(stop.subscribe())),
            scheduler: app.scheduler,
            stop,
            now_us,
            config: loaded.config,
            _data: data,
        }
    }

    /// Ends the server. Nothing may be left behind: no slot in use, no row that
    /// cannot be committed.
    pub(crate) async fn close(self) {
        self.stop.send_replace(true);
        self.dispatcher.await.expect("a dispatcher that does not panic");
        self.store.flush().await.expect("everything committed");
        assert_eq!(self.executor.slots().in_use, 0, "a slot was not given back");
        self.store.close().await.expect("everything committed");
    }

    /// Waits until every execution that was answered has its row.
    pub(crate) async fn flush(&self) {
        self.store.flush().await.expect("everything committed");
    }

    /// The database behind the server.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// What it was started with.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// What deletes old rows.
    pub(crate) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// What fires schedules: nothing does unless a test wants it, because the time of
    /// tests jumps.
    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Waits until every event of an app is done, and gives up after a minute. Messages
    /// of a queue without a trigger are left alone.
    pub(crate) async fn settled(&self, app: &str) {
        let begun = Instant::now();
        loop {
            let path = format!("/apps/{app}/outbox?limit=200");
            let page = self.admin().get(&path).send().await.is(200).json();
            let events = page["items"].as_array().expect("a page");
            let Some(open) = events.iter().find(|event| event["state"] != "unassigned") else {
                return;
            };
            assert!(begun.elapsed() < Duration::from_secs(60), "it is never done: {open}");
            tokio::task::yield_now().await;
        }
    }

    /// Makes a trigger; its id.
    pub(crate) async fn trigger(&self, app: &str, script_id: &str, on: Value) -> String {
        self.trigger_with(app, json!({"script_id": script_id, "on": on})).await
    }

    /// [`TestApp::trigger`] with all that the API takes.
    pub(crate) async fn trigger_with(&self, app: &str, trigger: Value) -> String {
        let made = self.admin().post(&format!("/apps/{app}/triggers"), trigger).send().await;
        made.is(201).json()["id"].as_str().expect("an id").to_owned()
    }

    /// Claims a domain for an app, and approves it.
    pub(crate) async fn domain(&self, app: &str, host: &str) {
        let path = format!("/apps/{app}/domains");
        self.admin().post(&path, json!({"host": host})).send().await.is(201);
        self.admin().post(&format!("{path}/{host}/approve"), json!({})).send().await.is(200);
    }

    /// Makes a user a member of an app, or another one.
    pub(crate) async fn set_role(&self, app: &str, user: &str, role: &str) {
        let path = format!("/apps/{app}/members/{user}");
        self.admin().put(&path, json!({"role": role})).send().await.is(200);
    }

    /// Makes a key of the owner's; its answer.
    pub(crate) async fn key(&self, body: Value) -> Value {
        self.admin().post("/keys", body).send().await.is(201).json()
    }

    /// The value of a key, `null` when there is none.
    pub(crate) async fn value(&self, app: &str, collection: &str, key: &str) -> Value {
        let path = format!("/apps/{app}/kv/{collection}?prefix={key}&limit=200");
        let part = self.admin().get(&path).send().await.is(200).json();
        let items = part["items"].as_array().expect("a part").clone();
        let Some(found) = items.into_iter().find(|entry| entry["name"] == key) else {
            return Value::Null;
        };
        if found["value_is_left_out"] == false {
            return found["value"].clone();
        }
        let path = format!("/apps/{app}/kv/{collection}/{key}");
        self.admin().get(&path).send().await.is(200).json()["value"].clone()
    }

    /// The dead letters of an app, newest first, also those that are resolved.
    pub(crate) async fn dead_letters(&self, app: &str) -> Vec<Value> {
        let path = format!("/apps/{app}/dead-letters?unresolved=false&limit=200");
        let page = self.admin().get(&path).send().await.is(200).json();
        page["items"].as_array().expect("a page").clone()
    }

    /// The time, in seconds since 1970.
    pub(crate) fn now_s(&self) -> i64 {
        self.now_us.load(Ordering::Relaxed) / 1_000_000
    }

    /// Lets days pass.
    pub(crate) fn pass_days(&self, days: i64) {
        self.now_us.fetch_add(days * DAY_US, Ordering::Relaxed);
    }

    /// A request to any path, as anybody.
    pub(crate) fn request(&self, method: &str, path: &str) -> Call {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.parse::<Method>().expect("a method");
        *request.uri_mut() = path.parse().expect("a path");
        let caller = SocketAddr::new(CALLER.parse().expect("an address"), 50_000);
        request.extensions_mut().insert(ConnectInfo(caller));
        Call { router: self.router.clone(), request }
    }

    /// A GET, as anybody.
    pub(crate) fn get(&self, path: &str) -> Call {
        self.request("GET", path)
    }

    /// A POST, as anybody.
    pub(crate) fn post(&self, path: &str) -> Call {
        self.request("POST", path)
    }

    /// The admin API, as the owner.
    pub(crate) fn admin(&self) -> Admin<'_> {
        Admin(self)
    }

    /// Makes the app `app` if there is none, and in it a script; its id.
    pub(crate) async fn deploy(&self, app: &str, script: &str, source: &str) -> String {
        self.deploy_with(app, json!({"name": script, "source": source})).await
    }

    /// [`TestApp::deploy`] with all that the API takes for a new script.
    pub(crate) async fn deploy_with(&self, app: &str, script: Value) -> String {
        let made = self.admin().post("/apps", json!({"name": app})).send().await;
        assert!([201, 409].contains(&made.status), "{made:?}");
        let made = self.admin().post(&format!("/apps/{app}/scripts"), script).send().await;
        made.is(201).json()["id"].as_str().expect("an id").to_owned()
    }

    /// Sets a secret of an app.
    pub(crate) async fn secret(&self, app: &str, name: &str, value: &str) {
        let path = format!("/apps/{app}/secrets/{name}");
        let set = self.admin().put(&path, json!({"value": value})).send().await;
        assert!([200, 201].contains(&set.status), "{set:?}");
    }

    /// Gives a script a new source.
    pub(crate) async fn update(&self, script_id: &str, source: &str) -> Answer {
        let path = format!("/scripts/{script_id}");
        self.admin().put(&path, json!({"source": source})).send().await
    }

    /// How many executions of a script have a row.
    pub(crate) async fn count_executions(&self, script_id: &str) -> usize {
        let page = self.admin().get(&format!("/scripts/{script_id}/logs?limit=200")).send().await;
        page.is(200).json()["items"].as_array().expect("a page").len()
    }

    /// An execution with all its details.
    pub(crate) async fn execution(&self, id: &str) -> Value {
        self.admin().get(&format!("/executions/{id}")).send().await.is(200).json()
    }
}

/// The admin API, as the owner; paths start after `/api/v1`.
pub(crate) struct Admin<'a>(&'a TestApp);

#[expect(clippy::needless_pass_by_value, reason = "so that `json!` can stand in a call")]
impl Admin<'_> {
    pub(crate) fn request(&self, method: &str, path: &str) -> Call {
        self.0.request(method, &format!("/api/v1{path}")).by_owner()
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Call {
        self.request("POST", path).json(&body)
    }

    pub(crate) fn put(&self, path: &str, body: Value) -> Call {
        self.request("PUT", path).json(&body)
    }

    pub(crate) fn patch(&self, path: &str, body: Value) -> Call {
        self.request("PATCH", path).json(&body)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.request("DELETE", path)
    }
}

/// A request that is being put together.
pub(crate) struct Call {
    router: Router,
    request: Request<Body>,
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        let value = HeaderValue::from_str(value).expect("a header's value");
        self.request.headers_mut().append(name, value);
        self
    }

    /// With any bytes that a header can hold.
    pub(crate) fn header_value(mut self, name: &str, value: HeaderValue) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.request.headers_mut().append(name, value);
        self
    }

    pub(crate) fn by_owner(self) -> Self {
        self.header("authorization", &format!("Bearer {OWNER_KEY}"))
    }

    /// With an API key.
    pub(crate) fn by_key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// From another peer than [`CALLER`].
    pub(crate) fn from(mut self, peer: &str) -> Self {
        let peer = SocketAddr::new(peer.parse().expect("an address"), 50_001);
        self.request.extensions_mut().insert(ConnectInfo(peer));
        self
    }

    /// A body of this type.
    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self.header(header::CONTENT_TYPE.as_str(), content_type)
    }

    /// Another body of the type that it has already.
    pub(crate) fn replace_body(mut self, body: &str) -> Self {
        *self.request.body_mut() = body.to_owned().into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn text(self, body: &str) -> Self {
        self.body("text/plain; charset=utf-8", body.to_owned())
    }

    pub(crate) async fn send(self) -> Answer {
        let (head, body) = self.router.oneshot(self.request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Itself, if it has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The error that it holds, if it has this status and this code.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str) -> Value {
        let error = self.json()["error"].clone();
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        error
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    /// A header that comes at most once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(values.len() < 2, "{name} comes more than once: {values:?}");
        values.first().map(|value| value.to_str().expect("a text"))
    }

    #[track_caller]
    pub(crate) fn execution_id(&self) -> &str {
        self.header("x-picloud-execution-id").unwrap_or_else(|| panic!("no execution: {self:?}"))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A body of megabytes would hide what failed.
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        write!(f, "{} {:?} {body}", self.status, self.headers)
    }
}

fn counted_clock(now_us: &Arc<AtomicI64>) -> Clock {
    let (now_us, drawn) = (Arc::clone(now_us), AtomicU64::new(0));
    Clock::new(
        move || now_us.fetch_add(MINUTE_US, Ordering::Relaxed),
        move |bytes| {
            for chunk in bytes.chunks_mut(32) {
                let count = drawn.fetch_add(1, Ordering::Relaxed);
                chunk.copy_from_slice(&Sha256::digest(count.to_le_bytes())[..chunk.len()]);
            }
        },
    )
}

/// Makes each test body a test on each database, with a server of its own that is
/// closed at the end. Needs `TestApp` in scope.
#[macro_export]
macro_rules! with_an_app {
    ($($(#[$doc:meta])* async fn $name:ident($app:ident) $body:block)+) => {
        $crate::on_both_databases! {$(
            $(#[$doc])*
            async fn $name(database) {
                let server = TestApp::start(database).await;
                let $app = &server;
                $body
                server.close().await;
            }
        )+}
    };
}
