//! Events on a server without free slots.

use serde_json::json;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::server::Server;

crate::on_both_databases! {
    async fn an_event_that_finds_no_slot_keeps_its_attempts(database) {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        let mut gate = Gate::open().await;
        let server = Server::start_on(data.path(), database, &[
            ("PICLOUD_PRIVATE_HOSTS", "127.0.0.1"),
            ("PICLOUD_MAX_CONCURRENCY", "1"),
            ("PICLOUD_QUEUE_TIMEOUT_MS", "0"),
            ("PICLOUD_EVENT_LEASE_MS", "500"),
        ]);
        server.create("/apps", json!({"name": "app"})).await.unwrap();
        let busy = json!({"name": "busy", "source": format!(r#"http::get("{}1")"#, gate.url)});
        server.create("/apps/app/scripts", busy).await.unwrap();
        let source = r#"kv::collection("effects").increment("attempt " + ctx.event.attempt)"#;
        let script = json!({"name": "work", "source": source});
        let script = server.create("/apps/app/scripts", script).await.unwrap();
        let trigger = json!({
            "script_id": script["id"], "on": {"kind": "queue", "queue": "work"},
            "retry": {"attempts_max": 1},
        });
        server.create("/apps/app/triggers", trigger).await.unwrap();

        let mut ledger = Ledger::open(database).await;
        let crowded_out = async {
            let busy = gate.arrival().await;
            server.admin("POST", "/apps/app/events", &json!({"queue": "work"})).await.unwrap();
            ledger.begun_again("app").await;
            busy.let_go();
        };
        tokio::join!(async { server.call("/x/app/busy").await.unwrap() }, crowded_out);
        ledger.settled("app").await;
        let effects = ledger.counters("app", "effects").await;
        assert_eq!(effects, [("attempt 1".to_owned(), 1)].into());
        assert!(ledger.dead_letters("app").await.is_empty());
    }
}
