//! An event whose run kills the server.

use serde_json::json;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::Kind;
use crate::ledger::Ledger;
use crate::server::Server;

/// The number of attempts of the event.
const ATTEMPTS: usize = 3;

crate::on_both_databases! {
    async fn an_event_that_kills_its_host_every_time_is_given_up(database) {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        let start = || {
            Server::start_on(data.path(), database, &[("PICLOUD_CRASH_AT", "after_run:1")])
        };
        let mut server = start();
        server.create("/apps", json!({"name": "app"})).await.unwrap();
        let script = json!({"name": "poison", "source": r#"kv::collection("effects").set("a", 1)"#});
        let script = server.create("/apps/app/scripts", script).await.unwrap();
        let trigger = json!({
            "script_id": script["id"], "on": {"kind": "queue", "queue": "work"},
            "retry": {"attempts_max": ATTEMPTS},
        });
        server.create("/apps/app/triggers", trigger).await.unwrap();
        let _ = server.admin("POST", "/apps/app/events", &json!({"queue": "work"})).await;
        for attempt in 1..=ATTEMPTS {
            server.died().await;
            if database.kind == Kind::Postgres {
                assert_eq!(Ledger::open(database).await.let_leases_run_out().await, 1, "{attempt}");
            }
            server = start();
        }
        let mut ledger = Ledger::open(database).await;
        ledger.settled("app").await;
        assert_eq!(ledger.dead_letters("app").await, [("unresolved".to_owned(), 1)].into());
        assert_eq!(ledger.counters("app", "effects").await.len(), 0);
        assert!(server.ended().is_none(), "the event was run once more");
        let letter = server.find("/apps/app/dead-letters").await["items"][0].clone();
        assert_eq!(letter["attempts"], ATTEMPTS, "{letter}");
        assert!(letter["last_error"].as_str().unwrap().contains("the host or the database went down"), "{letter}");
    }
}
