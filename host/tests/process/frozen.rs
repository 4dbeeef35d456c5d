//! A node that is frozen in the middle of a transaction, like one whose machine is suspended or
//! disconnected. Its locks must not block the other nodes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::{Database, Kind, with_fresh_database};
use crate::ledger::Ledger;
use crate::server::{Server, signal};

/// Much more than the other nodes have to wait, and much less than the timeout of a write.
const HELD_UP_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_does_not_hold_up_the_others() {
    with_fresh_database(Kind::Postgres, test).await;
}

async fn test(database: &Database) {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let frozen = Server::start_on(data.path(), database, &[]);
    frozen.create("/apps", json!({"name": "app"})).await.unwrap();
    let source = r#"kv::collection("counts").increment("n")"#;
    let script = json!({"name": "count", "source": source});
    frozen.create("/apps/app/scripts", script).await.unwrap();
    let other = Server::start_on(data.path(), database, &[]);

    let mut ledger = Ledger::open(database).await;
    let over = AtomicBool::new(false);
    let load = async {
        while !over.load(Ordering::Relaxed) {
            let _ = frozen.call("/x/app/count").await;
        }
    };
    let freeze = async {
        let begun = Instant::now();
        loop {
            signal(frozen.pid(), "-STOP").await;
            if ledger.holds_a_lock().await {
                break;
            }
            signal(frozen.pid(), "-CONT").await;
            assert!(begun.elapsed() < Duration::from_secs(60), "no transaction is open");
        }
        let answer = tokio::time::timeout(HELD_UP_MAX, other.call("/x/app/count")).await;
        assert_eq!(answer.expect("an answer in time").unwrap().0, 200);
        over.store(true, Ordering::Relaxed);
        signal(frozen.pid(), "-CONT").await;
    };
    futures::future::join(load, freeze).await;
    // The node finds that its transaction was aborted, and continues.
    let mut status = 0;
    for _ in 0..3 {
        status = frozen.call("/x/app/count").await.unwrap().0;
    }
    assert_eq!(status, 200);
}
