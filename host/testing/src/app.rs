//! The whole server without its socket, on a fresh database, and a client for it.
//!
//! Time and random bytes are deterministic: each read of the clock is a minute after the previous
//! one. So the order of rows never depends on the speed of the machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use picloud::App;
use picloud::Front;
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::executor::Executor;
use picloud::orchestrator::scheduler::Scheduler;
use picloud::retention::Retention;
use picloud::store::Store;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::database::Database;
use crate::{compiled_guest, scratch_folder};

/// The owner key of every test's server.
pub const OWNER_KEY: &str = "owner-key-of-the-tests-0123456789";
/// The password of every test's first owner, `admin`.
pub const ADMIN_PASSWORD: &str = "password of the tests";
/// The number of executions that run at the same time.
pub const SLOTS: usize = 8;
/// The address of every caller, unless a test sets another one.
pub const CALLER: &str = "192.0.2.7";

const MINUTE_US: i64 = 60 * 1_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
/// 2026-01-01T00:00:00Z.
const BEGINNING_US: i64 = 1_767_225_600 * 1_000_000;

/// A server for one test.
pub struct TestApp {
    front: Front,
    store: Store,
    executor: Executor,
    retention: Retention,
    dispatcher: JoinHandle<()>,
    scheduler: Scheduler,
    stop: watch::Sender<bool>,
    now_us: Arc<AtomicI64>,
    config: Config,
    /// The data folder. It is deleted with the app.
    _data: TempDir,
}

impl TestApp {
    /// Starts a server with the default settings, except for [`SLOTS`].
    pub async fn start(database: &Database) -> Self {
        Self::start_with(database, &[]).await
    }

    /// Starts a server with these environment variables.
    pub async fn start_with(database: &Database, variables: &[(&str, &str)]) -> Self {
        let data = TempDir::new_in(scratch_folder()).expect("a data folder");
        compiled_guest::place(data.path());
        let (slots, url) = (SLOTS.to_string(), database.url.to_string());
        let ours = [
            ("PICLOUD_DATA", data.path().to_str().expect("a path in UTF-8")),
            ("PICLOUD_DATABASE_URL", &url),
            ("PICLOUD_OWNER_KEY", OWNER_KEY),
            ("PICLOUD_ADMIN_PASSWORD", ADMIN_PASSWORD),
            ("PICLOUD_MAX_CONCURRENCY", &slots),
            // A test that needs the timeout sets it itself. No other test may depend on the speed
            // of the machine.
            ("PICLOUD_QUEUE_TIMEOUT_MS", "600000"),
            // No test uses the machine's DNS; no server answers at this address.
            ("PICLOUD_DNS_SERVER", "127.0.0.1:1"),
        ];
        let variables = ours.iter().chain(variables);
        let loaded = Config::read(variables.map(|&(name, value)| (name.to_owned(), value.into())))
            .expect("valid settings");
        assert_eq!(loaded.warnings, [""; 0], "only known settings");
        let now_us = Arc::new(AtomicI64::new(BEGINNING_US));
        let stop = watch::Sender::new(false);
        let app = App::build(&loaded.config, counted_clock(&now_us)).await.expect("a server");
        Self {
            front: app.front,
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

    /// Stops the server. Asserts that no slot is in use, and that all rows are committed.
    pub async fn close(self) {
        self.stop.send_replace(true);
        self.dispatcher.await.expect("the dispatcher panicked");
        self.store.flush().await.expect("everything committed");
        assert_eq!(self.executor.slots().in_use, 0, "a slot is still in use");
        self.store.close().await.expect("everything committed");
    }

    /// Waits until every execution with a response has its row.
    pub async fn flush(&self) {
        self.store.flush().await.expect("everything committed");
    }

    /// Returns the database of the server.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the configuration of the server.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the service that deletes old rows.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Returns the service that fires schedules. Only tests run it, because the time of tests
    /// jumps.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Waits until every event of an app is done, at most a minute. Ignores messages of a queue
    /// without a trigger.
    pub async fn settled(&self, app: &str) {
        let begun = Instant::now();
        loop {
            let path = format!("/apps/{app}/outbox?limit=200");
            let page = self.admin().get(&path).send().await.is(200).json();
            let events = page["items"].as_array().expect("a page");
            let Some(open) = events.iter().find(|event| event["state"] != "unassigned") else {
                return;
            };
            assert!(begun.elapsed() < Duration::from_secs(60), "events are never done: {open}");
            crate::pause().await;
        }
    }

    /// Creates a trigger, and returns its id.
    pub async fn trigger(&self, app: &str, script_id: &str, on: Value) -> String {
        self.trigger_with(app, json!({"script_id": script_id, "on": on})).await
    }

    /// Like [`TestApp::trigger`], with all fields of the API.
    pub async fn trigger_with(&self, app: &str, trigger: Value) -> String {
        let made = self.admin().post(&format!("/apps/{app}/triggers"), trigger).send().await;
        made.is(201).json()["id"].as_str().expect("an id").to_owned()
    }

    /// Claims a domain for an app, and approves it.
    pub async fn domain(&self, app: &str, host: &str) {
        let path = format!("/apps/{app}/domains");
        self.admin().post(&path, json!({"host": host})).send().await.is(201);
        self.admin().post(&format!("{path}/{host}/approve"), json!({})).send().await.is(200);
    }

    /// Gives a user a role in an app.
    pub async fn set_role(&self, app: &str, user: &str, role: &str) {
        let path = format!("/apps/{app}/members/{user}");
        self.admin().put(&path, json!({"role": role})).send().await.is(200);
    }

    /// Creates a key of the owner, and returns the response.
    pub async fn key(&self, body: Value) -> Value {
        self.admin().post("/keys", body).send().await.is(201).json()
    }

    /// Returns the value of a key; `null` without one.
    pub async fn value(&self, app: &str, collection: &str, key: &str) -> Value {
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

    /// Returns the dead letters of an app, newest first, including resolved ones.
    pub async fn dead_letters(&self, app: &str) -> Vec<Value> {
        let path = format!("/apps/{app}/dead-letters?unresolved=false&limit=200");
        let page = self.admin().get(&path).send().await.is(200).json();
        page["items"].as_array().expect("a page").clone()
    }

    /// Returns the time, in seconds since 1970.
    pub fn now_s(&self) -> i64 {
        self.now_us.load(Ordering::Relaxed) / 1_000_000
    }

    /// Moves the clock forward by days.
    pub fn pass_days(&self, days: i64) {
        self.now_us.fetch_add(days * DAY_US, Ordering::Relaxed);
    }

    /// A request to any path, without credentials.
    pub fn request(&self, method: &str, path: &str) -> Call {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.parse::<Method>().expect("a method");
        *request.uri_mut() = path.parse().expect("a path");
        let caller = SocketAddr::new(CALLER.parse().expect("an address"), 50_000);
        request.extensions_mut().insert(ConnectInfo(caller));
        Call { front: self.front.clone(), request }
    }

    /// A GET, without credentials.
    pub fn get(&self, path: &str) -> Call {
        self.request("GET", path)
    }

    /// A POST, without credentials.
    pub fn post(&self, path: &str) -> Call {
        self.request("POST", path)
    }

    /// The admin API, as the owner.
    pub fn admin(&self) -> Admin<'_> {
        Admin(self)
    }

    /// Creates a script, and the app `app` if it does not exist. Returns the script's id.
    pub async fn deploy(&self, app: &str, script: &str, source: &str) -> String {
        self.deploy_with(app, json!({"name": script, "source": source})).await
    }

    /// Like [`TestApp::deploy`], with all fields of the API.
    pub async fn deploy_with(&self, app: &str, script: Value) -> String {
        let made = self.admin().post("/apps", json!({"name": app})).send().await;
        assert!([201, 409].contains(&made.status), "{made:?}");
        let made = self.admin().post(&format!("/apps/{app}/scripts"), script).send().await;
        made.is(201).json()["id"].as_str().expect("an id").to_owned()
    }

    /// Sets a secret of an app.
    pub async fn secret(&self, app: &str, name: &str, value: &str) {
        let path = format!("/apps/{app}/secrets/{name}");
        let set = self.admin().put(&path, json!({"value": value})).send().await;
        assert!([200, 201].contains(&set.status), "{set:?}");
    }

    /// Sets a new source of a script.
    pub async fn update(&self, script_id: &str, source: &str) -> Answer {
        let path = format!("/scripts/{script_id}");
        self.admin().put(&path, json!({"source": source})).send().await
    }

    /// Returns the number of rows that a script's executions have.
    pub async fn count_executions(&self, script_id: &str) -> usize {
        let page = self.admin().get(&format!("/scripts/{script_id}/logs?limit=200")).send().await;
        page.is(200).json()["items"].as_array().expect("a page").len()
    }

    /// An execution with all its details.
    pub async fn execution(&self, id: &str) -> Value {
        self.admin().get(&format!("/executions/{id}")).send().await.is(200).json()
    }
}

/// The admin API, as the owner; paths start after `/api/v1`.
pub struct Admin<'a>(&'a TestApp);

#[expect(clippy::needless_pass_by_value, reason = "so that `json!` can stand in a call")]
impl Admin<'_> {
    pub fn request(&self, method: &str, path: &str) -> Call {
        self.0.request(method, &format!("/api/v1{path}")).by_owner()
    }

    pub fn get(&self, path: &str) -> Call {
        self.request("GET", path)
    }

    pub fn post(&self, path: &str, body: Value) -> Call {
        self.request("POST", path).json(&body)
    }

    pub fn put(&self, path: &str, body: Value) -> Call {
        self.request("PUT", path).json(&body)
    }

    pub fn patch(&self, path: &str, body: Value) -> Call {
        self.request("PATCH", path).json(&body)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.request("DELETE", path)
    }
}

/// A request that is being built.
pub struct Call {
    front: Front,
    request: Request<Body>,
}

impl Call {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        let value = HeaderValue::from_str(value).expect("a header's value");
        self.request.headers_mut().append(name, value);
        self
    }

    /// Adds a header with any bytes that a header can hold.
    pub fn header_value(mut self, name: &str, value: HeaderValue) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.request.headers_mut().append(name, value);
        self
    }

    pub fn by_owner(self) -> Self {
        self.header("authorization", &format!("Bearer {OWNER_KEY}"))
    }

    /// Authenticates with an API key.
    pub fn by_key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// Sends it from another peer than [`CALLER`].
    pub fn from(mut self, peer: &str) -> Self {
        let peer = SocketAddr::new(peer.parse().expect("an address"), 50_001);
        self.request.extensions_mut().insert(ConnectInfo(peer));
        self
    }

    /// Sets a body of this type.
    pub fn body(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self.header(header::CONTENT_TYPE.as_str(), content_type)
    }

    /// Sets another body, and keeps its type.
    pub fn replace_body(mut self, body: &str) -> Self {
        *self.request.body_mut() = body.to_owned().into();
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn text(self, body: &str) -> Self {
        self.body("text/plain; charset=utf-8", body.to_owned())
    }

    pub async fn send(self) -> Answer {
        let (head, body) = self.front.oneshot(self.request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }
}

/// A response.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Asserts that it has this status, and returns it.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts that it has this status and error code, and returns the error.
    #[track_caller]
    pub fn refuses(&self, status: u16, code: &str) -> Value {
        let error = self.json()["error"].clone();
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        error
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    /// Returns a header that occurs at most once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(values.len() < 2, "{name} occurs more than once: {values:?}");
        values.first().map(|value| value.to_str().expect("a text"))
    }

    #[track_caller]
    pub fn execution_id(&self) -> &str {
        self.header("x-picloud-execution-id").unwrap_or_else(|| panic!("no execution: {self:?}"))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A body of megabytes would hide the failure.
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

/// Turns each test body into a test on each database, with its own server that is closed at the
/// end. Needs `TestApp` in scope.
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
