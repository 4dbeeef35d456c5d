//! Very many events at once: failing events become dead letters without a storm of attempts, and
//! the backlog of one app does not block another.

use serde_json::json;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::{Database, Kind};
use crate::ledger::Ledger;
use crate::server::Server;

/// The number of events that one call of the feeding script sends.
const SENT_AT_ONCE: usize = 1_000;
const FAILING: usize = 10_000;
const BACKLOG: usize = 20_000;
/// The most events of a backlog that can run before another app's event: those already claimed, and
/// those claimed before that app's turn.
const AHEAD_MAX: i64 = 2_000;

const SETTINGS: [(&str, &str); 2] =
    [("PICLOUD_MAX_HOST_CALLS", "10000"), ("PICLOUD_MAX_EFFECTS", "10000")];

/// Creates an app whose queue `work` has this script, and `feed` to fill it.
async fn with_queue(server: &Server, app: &str, source: &str) {
    server.create("/apps", json!({"name": app})).await.unwrap();
    let scripts = format!("/apps/{app}/scripts");
    let work = server.create(&scripts, json!({"name": "work", "source": source})).await.unwrap();
    let feed = format!(r#"for i in 0..{SENT_AT_ONCE} {{ queue::send("work", i) }}"#);
    server.create(&scripts, json!({"name": "feed", "source": feed})).await.unwrap();
    let trigger = json!({
        "script_id": work["id"], "on": {"kind": "queue", "queue": "work"},
        "retry": {"attempts_max": 2, "backoff": "constant", "base_ms": 50, "jitter": 1},
    });
    server.create(&format!("/apps/{app}/triggers"), trigger).await.unwrap();
}

async fn feed(server: &Server, app: &str, events: usize) {
    for _ in 0..events / SENT_AT_ONCE {
        let (status, _) = server.call(&format!("/x/{app}/feed")).await.unwrap();
        assert_eq!(status, 200);
    }
}

fn start(data: &TempDir, database: &Database) -> Server {
    compiled_guest::place(data.path());
    Server::start_on(data.path(), database, &SETTINGS)
}

crate::on_both_databases! {
    async fn ten_thousand_failing_events_end_as_ten_thousand_dead_letters(database) {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = start(&data, database);
        with_queue(&server, "storm", r#"throw "no""#).await;
        feed(&server, "storm", FAILING).await;
        let mut ledger = Ledger::open(database).await;
        ledger.settled("storm").await;
        let failing = FAILING as i64;
        assert_eq!(ledger.dead_letters("storm").await, [("unresolved".to_owned(), failing)].into());
        // A claim counts as an attempt, so there were no more claims either.
        assert_eq!(ledger.attempts("storm").await, [(1, failing), (2, failing)].into());
        assert_eq!(ledger.attempts_of_dead_letters("storm").await, 2 * failing);
    }

    async fn an_app_with_a_backlog_does_not_starve_another(database) {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = start(&data, database);
        let second = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // On PostgreSQL, two nodes run the backlog.
        let _second = (database.kind == Kind::Postgres).then(|| start(&second, database));
        with_queue(&server, "many", "1").await;
        with_queue(&server, "one", r#"kv::collection("effects").increment("one")"#).await;
        let mut ledger = Ledger::open(database).await;
        feed(&server, "many", BACKLOG).await;
        let before = ledger.open_events("many").await;
        assert!(before > AHEAD_MAX, "there is no backlog: {before}");
        server.admin("POST", "/apps/one/events", &json!({"queue": "work"})).await.unwrap();
        ledger.counted("one", "effects").await;
        let after = ledger.open_events("many").await;
        println!("{before} events waited when it was sent, {after} when it was done");
        assert!(before - after <= AHEAD_MAX, "{before} were there, {after} when it was done");
    }
}
