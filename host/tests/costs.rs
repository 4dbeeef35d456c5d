//! Counts the statements of the database that calls need. Counts do not depend on the machine.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use picloud_testing::app::TestApp;
use picloud_testing::database::{Kind, with_fresh_database};
use picloud_testing::statements;

/// The number of calls that are counted together.
const CALLS: usize = 50;

/// Returns the statements of calls of a script, after its first call.
async fn of_calls(app: &TestApp, script: &str, calls: usize) -> Vec<String> {
    let call = async || {
        app.get(&format!("/x/shop/{script}")).send().await.is(200);
    };
    call().await;
    app.store().flush().await.unwrap();
    statements::take();
    for _ in 0..calls {
        call().await;
    }
    app.store().flush().await.unwrap();
    statements::take()
}

fn reads(statements: &[String]) -> usize {
    statements.iter().filter(|statement| statement.starts_with("SELECT")).count()
}

/// One test, because the count is the process's.
#[tokio::test]
async fn a_call_costs_few_statements() {
    statements::listen();
    // Statements of a commit with one write, and reads of a key that was read before.
    for (kind, write_max, reads_per_call) in [(Kind::Sqlite, 9, 0), (Kind::Postgres, 12, 1)] {
        with_fresh_database(kind, async |database| {
            let app = TestApp::start(database).await;
            app.deploy("shop", "echo", "ctx.request.body").await;
            app.deploy("shop", "read", r#"kv::collection("c").get("k")"#).await;
            app.deploy("shop", "write", r#"kv::collection("c").set("k", 1); ()"#).await;

            let echo = of_calls(&app, "echo", CALLS).await;
            assert_eq!(reads(&echo), 0, "{kind:?}: {echo:?}");
            let read = of_calls(&app, "read", CALLS).await;
            assert_eq!(reads(&read), reads_per_call * CALLS, "{kind:?}: {read:?}");
            let write = of_calls(&app, "write", 1).await;
            assert!(!write.is_empty() && write.len() <= write_max, "{kind:?}: {write:#?}");
            app.close().await;
        })
        .await;
    }
}
