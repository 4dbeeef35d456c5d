//! Slow lists of the admin API do not block scripts.

use futures::future::join_all;
use futures::poll;
use sqlx::{Connection, Executor, PgConnection};

use crate::app::TestApp;
use crate::database::{Kind, with_fresh_database};

/// More lists than the admin API has connections, and as many as scripts have.
const LISTS: usize = 8;

/// On PostgreSQL only: readers of SQLite never wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_answered_while_lists_hold_every_connection_of_the_admin_api() {
    with_fresh_database(Kind::Postgres, async |database| {
        let app = TestApp::start(database).await;
        app.deploy("shop", "read", r#"kv::collection("c").get("k") ?? "none""#).await;
        let mut other = PgConnection::connect(&database.plain_url).await.unwrap();
        other.execute("BEGIN").await.unwrap();
        other.execute("LOCK TABLE outbox").await.unwrap();
        let lists = (0..LISTS).map(|_| app.admin().get("/apps/shop/outbox").send());
        let mut lists = std::pin::pin!(join_all(lists));
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE relation = 'outbox'::regclass AND NOT granted";
        let most = i64::from(app.config().readers.admin);
        // Until every connection of the admin API is held.
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut other).await.unwrap() < most {
            assert!(poll!(lists.as_mut()).is_pending());
            picloud_testing::pause().await;
        }
        assert_eq!(app.get("/x/shop/read").send().await.is(200).json(), "none");
        assert!(poll!(lists.as_mut()).is_pending(), "the lists waited all the while");
        other.execute("COMMIT").await.unwrap();
        for list in lists.await {
            list.is(200);
        }
        app.close().await;
    })
    .await;
}
