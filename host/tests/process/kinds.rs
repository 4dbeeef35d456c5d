//! Tests every kind of event from one table. Its effect occurs exactly once, even if the process is
//! killed at any step, or if two nodes claim the same event.

use std::path::Path;

use picloud::faults::Point;
use picloud::store::{Delivery, TriggerKind};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::{Database, Kind};
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::server::Server;

/// One way to create an event.
struct Case {
    /// The app of this case.
    app: String,
    /// The event that the trigger listens to; `None` without a trigger.
    on: Option<Value>,
    feed: Feed,
    /// The Rhai expression of the name that the handler counts, unique for each event.
    counts_by: &'static str,
}

/// How the event is created.
enum Feed {
    /// By a call of this script.
    Script(&'static str),
    /// By this message, sent through the API.
    Message(Value),
    /// By a request to a route.
    Request(Delivery),
    /// By a message to a queue whose script always fails.
    Failure,
    /// By time.
    Time,
}

/// Returns all ways to create an event of a kind.
fn cases(kind: TriggerKind) -> Vec<Case> {
    let case = |app: &str, on, feed| {
        vec![Case { app: app.to_owned(), on: Some(on), feed, counts_by: "ctx.event.id" }]
    };
    let script = |source| Feed::Script(source);
    match kind {
        TriggerKind::Http => [Delivery::Durable, Delivery::Async]
            .map(|delivery| Case {
                app: format!("http-{}", delivery.as_str()),
                on: None,
                feed: Feed::Request(delivery),
                counts_by: "ctx.request.path",
            })
            .into(),
        TriggerKind::Script => vec![Case {
            app: "script".to_owned(),
            on: None,
            feed: Feed::Script(r#"scripts::enqueue("handle", 1)"#),
            counts_by: "ctx.event.id",
        }],
        TriggerKind::Kv => {
            let on = json!({"kind": "kv", "collection": "orders"});
            case("kv", on, script(r#"kv::collection("orders").set("7", 1)"#))
        }
        TriggerKind::Cron => {
            let on = json!({"kind": "cron", "schedule": "* * * * * *", "overlap": "forbid"});
            case("cron", on, Feed::Time)
        }
        TriggerKind::Queue => {
            let message = json!({"queue": "work", "payload": 1});
            case("queue", json!({"kind": "queue", "queue": "work"}), Feed::Message(message))
        }
        TriggerKind::Pubsub => {
            let on = json!({"kind": "pubsub", "topic": "news.*"});
            case("pubsub", on, script(r#"pubsub::publish("news.today", 1)"#))
        }
        TriggerKind::Files => {
            let on = json!({"kind": "files", "bucket": "photos", "path": "*"});
            case("files", on, script(r#"files::bucket("photos").put("a.txt", "a")"#))
        }
        TriggerKind::DeadLetter => {
            case("dead-letter", json!({"kind": "dead_letter"}), Feed::Failure)
        }
        // Runs of the test panel are not events, and PiCloud receives no e-mail yet.
        TriggerKind::Execute | TriggerKind::Email => Vec::new(),
    }
}

fn all_cases() -> impl Iterator<Item = Case> {
    TriggerKind::ALL.iter().flat_map(|kind| cases(*kind))
}

impl Case {
    /// Creates the app, the handler with `first` at its beginning, and what leads to it.
    async fn set_up(&self, server: &Server, first: &str) {
        let handler = format!(
            "{first}\nkv::collection(\"effects\").increment({}); \
             if ctx.event != () && ctx.event.kind == \"cron\" {{ \
                 kv::collection(\"due\").increment(ctx.event.cron.due_at.to_string()); }}",
            self.counts_by
        );
        made(server, "/apps", json!({"name": self.app})).await;
        let handler = self.deploy(server, "handle", &handler).await;
        match &self.feed {
            Feed::Script(source) => {
                self.deploy(server, "feed", source).await;
            }
            Feed::Request(delivery) => {
                let route = json!({
                    "script_id": handler, "method": "POST", "path": "/in",
                    "delivery": delivery.as_str(),
                });
                made(server, &format!("/apps/{}/routes", self.app), route).await;
            }
            Feed::Failure => {
                let fail = self.deploy(server, "fail", r#"throw "no""#).await;
                let trigger = json!({
                    "script_id": fail, "on": {"kind": "queue", "queue": "broken"},
                    "retry": {"attempts_max": 1},
                });
                made(server, &format!("/apps/{}/triggers", self.app), trigger).await;
            }
            Feed::Message(_) | Feed::Time => {}
        }
    }

    /// Creates the trigger; a schedule begins then.
    async fn begin(&self, server: &Server) {
        let Some(on) = &self.on else { return };
        let scripts = server.find(&format!("/apps/{}/scripts?limit=200", self.app)).await;
        let scripts = scripts["items"].as_array().unwrap().clone();
        let handler = scripts.iter().find(|script| script["name"] == "handle").unwrap();
        let trigger = json!({"script_id": handler["id"], "on": on});
        made(server, &format!("/apps/{}/triggers", self.app), trigger).await;
    }

    async fn deploy(&self, server: &Server, name: &str, source: &str) -> String {
        let script = json!({"name": name, "source": source});
        let made = made(server, &format!("/apps/{}/scripts", self.app), script).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Creates one event. The server can die before it responds.
    async fn feed(&self, server: &Server) {
        let message = async |message: &Value| {
            let path = format!("/apps/{}/events", self.app);
            let _ = server.admin("POST", &path, message).await;
        };
        match &self.feed {
            Feed::Script(_) => drop(server.call(&format!("/x/{}/feed", self.app)).await),
            Feed::Request(_) => drop(server.post(&format!("/x/{}/in", self.app), &json!(1)).await),
            Feed::Message(event) => message(event).await,
            Feed::Failure => message(&json!({"queue": "broken", "payload": 1})).await,
            Feed::Time => {}
        }
    }

    /// Stops events that are created by time.
    async fn end(&self, server: &Server) {
        if matches!(self.feed, Feed::Time) {
            let triggers = server.find(&format!("/apps/{}/triggers", self.app)).await;
            let id = triggers["items"][0]["id"].as_str().unwrap();
            let path = format!("/triggers/{id}");
            let (status, _) =
                server.admin("PATCH", &path, &json!({"enabled": false})).await.unwrap();
            assert_eq!(status, 200);
        }
    }

    /// Returns the number of claims until the handler's event is claimed.
    fn claims(&self) -> u64 {
        if matches!(self.feed, Feed::Failure) { 2 } else { 1 }
    }

    /// Checks that every event is done, with one effect from one successful run.
    async fn check(&self, ledger: &mut Ledger) {
        let app = &self.app;
        ledger.settled(app).await;
        let effects = ledger.counters(app, "effects").await;
        assert!(effects.values().all(|count| *count == 1), "{app}: {effects:?}");
        let due = ledger.counters(app, "due").await;
        assert!(due.values().all(|count| *count == 1), "{app}: {due:?}");
        match self.feed {
            Feed::Time => assert!(!due.is_empty() && due.len() == effects.len(), "{app}: {due:?}"),
            _ => assert_eq!(effects.len(), 1, "{app}: {effects:?}"),
        }
        let successes = ledger.successes(app).await;
        assert!(successes.values().all(|count| *count == 1), "{app}: {successes:?}");
        assert_eq!(successes.len(), effects.len(), "{app}: {successes:?} but {effects:?}");
        let letters = ledger.dead_letters(app).await;
        let expected = matches!(self.feed, Feed::Failure).then(|| ("handled_by_script".into(), 1));
        assert_eq!(letters, expected.into_iter().collect(), "{app}");
    }
}

async fn made(server: &Server, path: &str, body: Value) -> Value {
    server.create(path, body).await.unwrap_or_else(|| panic!("{path}: it was not created"))
}

fn data() -> TempDir {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    data
}

/// Starts a server that dies at the `count`th passage of `point`.
fn armed(data: &Path, database: &Database, point: Point, count: u64) -> Server {
    let at = picloud::faults::CrashAt { point, count, stops: false }.to_string();
    Server::start_on(data, database, &[("PICLOUD_CRASH_AT", &at)])
}

#[test]
fn every_kind_of_event_has_a_case() {
    for kind in TriggerKind::ALL {
        let exempt = matches!(kind, TriggerKind::Execute | TriggerKind::Email);
        assert_eq!(cases(*kind).is_empty(), exempt, "{}", kind.as_str());
        for case in cases(*kind) {
            let on = case.on.map_or_else(|| kind.as_str().into(), |on| on["kind"].clone());
            assert_eq!(on, kind.as_str(), "{} is a case of another kind", case.app);
        }
    }
}

crate::on_both_databases! {
    async fn every_kind_of_event_has_its_effect(database) {
        let data = data();
        let server = Server::start_on(data.path(), database, &[]);
        let mut ledger = Ledger::open(database).await;
        for case in all_cases() {
            case.set_up(&server, "").await;
            case.begin(&server).await;
            case.feed(&server).await;
            if let Feed::Time = case.feed {
                ledger.counted(&case.app, "effects").await;
            }
            case.end(&server).await;
            case.check(&mut ledger).await;
        }
    }

    async fn an_event_of_every_kind_survives_a_kill_at_every_step(database) {
        let data = data();
        let server = Server::start_on(data.path(), database, &[]);
        for case in all_cases() {
            case.set_up(&server, "").await;
        }
        drop(server);
        for case in all_cases() {
            let mut server = armed(data.path(), database, Point::AfterClaim, case.claims());
            case.begin(&server).await;
            case.feed(&server).await;
            server.died().await;
            for point in [Point::AfterRun, Point::InsideCommit, Point::AfterCommit] {
                let mut ledger = Ledger::open(database).await;
                assert_eq!(ledger.counters(&case.app, "effects").await.len(), 0, "{}", case.app);
                if database.kind == Kind::Postgres {
                    ledger.let_leases_run_out().await;
                }
                drop(ledger);
                armed(data.path(), database, point, 1).died().await;
            }
            let server = Server::start_on(data.path(), database, &[]);
            case.end(&server).await;
            case.check(&mut Ledger::open(database).await).await;
        }
    }

    async fn an_event_of_every_kind_that_is_claimed_twice_is_done_once(database) {
        let (data, mut gate) = (data(), Gate::open().await);
        let server = Server::start_on(data.path(), database, &[("PICLOUD_PRIVATE_HOSTS", "127.0.0.1")]);
        made(&server, "/apps", json!({"name": "nobody"})).await;
        let mut ledger = Ledger::open(database).await;
        for case in all_cases() {
            let wait = format!(r#"http::get("{}" + ctx.execution.attempt);"#, gate.url);
            case.set_up(&server, &wait).await;
            case.begin(&server).await;
            let claimed_twice = async {
                let late = gate.arrival().await;
                case.end(&server).await;
                assert_eq!(ledger.let_leases_run_out().await, 1, "{}", case.app);
                // Any accepted event wakes the dispatcher.
                let wake = json!({"queue": "unheard"});
                server.admin("POST", "/apps/nobody/events", &wake).await.unwrap();
                let current = gate.arrival().await;
                assert_eq!((late.attempt, current.attempt), (1, 2), "{}", case.app);
                late.let_go();
                current.let_go();
            };
            tokio::join!(case.feed(&server), claimed_twice);
            case.check(&mut ledger).await;
        }
        // The server ends once no run is left, not even a late one.
        assert_eq!(server.stop(), Some(0));
        for case in all_cases() {
            case.check(&mut ledger).await;
            let attempts = ledger.successful_attempts(&case.app).await;
            assert_eq!(attempts, [2], "{}: the late one was acknowledged", case.app);
        }
    }
}
