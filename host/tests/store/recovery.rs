//! A database that fails and recovers.

use std::pin::pin;

use futures::poll;
use picloud::store::{Error, Store};

use crate::database::{Database, Kind, with_fresh_database};
use crate::fixtures::{ALL, Plain, app, execution, id, new_app, open};

/// Repeats a call while its result is `Unavailable`.
async fn until_available<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    for _ in 0..1_000 {
        match call().await {
            Ok(value) => return value,
            Err(Error::Unavailable(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the store did not recover");
}

const OTHERS: &str =
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Closes all of the store's connections on the server's side.
async fn cut_connections(plain: &mut Plain) {
    plain.execute(&format!("SELECT pg_terminate_backend(pid) {OTHERS}")).await;
}

/// Waits until a statement of the store waits for a lock.
async fn until_blocked(plain: &mut Plain) {
    let blocked = format!(
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 {OTHERS} AND wait_event_type = 'Lock') \
         LOOP PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
    );
    plain.execute(&blocked).await;
}

async fn on_postgres(test: impl AsyncFnOnce(&Database, Store)) {
    with_fresh_database(Kind::Postgres, async |database| {
        let store = open(database).await;
        test(database, store).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_idle_connections_are_replaced() {
    on_postgres(async |database, store| {
        let made = app(&store, "shop").await;
        let reads = (0..8).map(|_| store.find_app(&made.id));
        assert!(futures::future::join_all(reads).await.iter().all(Result::is_ok));
        let mut plain = Plain::connect(database).await;
        for n in 0..5 {
            cut_connections(&mut plain).await;
            until_available(async || store.insert_app(new_app(&n.to_string())).await).await;
            cut_connections(&mut plain).await;
            assert_eq!(until_available(async || store.find_app(&made.id).await).await, made);
        }
        assert_eq!(until_available(async || store.list_apps(ALL).await).await.len(), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_loses_its_connection_is_answered_unavailable() {
    on_postgres(async |database, store| {
        let mut holder = Plain::connect(database).await;
        holder.hold("apps").await;
        let mut insert = pin!(store.insert_app(new_app("lost")));
        assert!(poll!(insert.as_mut()).is_pending());
        // The holder of the lock must stay, so only the waiting connection is cut.
        until_blocked(&mut holder).await;
        let cut = format!("SELECT pg_terminate_backend(pid) {OTHERS} AND wait_event_type = 'Lock'");
        holder.execute(&cut).await;
        let lost = insert.await;
        assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
        holder.let_go().await;

        assert!(store.find_app_by_name("lost").await.is_err());
        app(&store, "lost").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_rows_survive_a_lost_connection() {
    on_postgres(async |database, store| {
        let mut holder = Plain::connect(database).await;
        holder.hold("execution_blocks").await;
        let row = execution(&id(), &id());
        store.record(row.clone()).await.unwrap();
        let mut flush = pin!(store.flush());
        assert!(poll!(flush.as_mut()).is_pending());
        until_blocked(&mut holder).await;
        let cut = format!("SELECT pg_terminate_backend(pid) {OTHERS} AND wait_event_type = 'Lock'");
        holder.execute(&cut).await;
        assert!(matches!(flush.await, Err(Error::Unavailable(_))));
        holder.let_go().await;

        until_available(async || store.flush().await).await;
        assert_eq!(store.find_execution(&row.id).await.unwrap(), row);
    })
    .await;
}

/// Holding a lock longer than the busy timeout is the closest substitute for a full disk that needs
/// no special file system.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sqlite_database_that_cannot_be_written_recovers() {
    with_fresh_database(Kind::Sqlite, async |database| {
        let store = open(database).await;
        let mut plain = Plain::connect(database).await;
        plain.hold("apps").await;
        let row = execution(&id(), &id());
        store.record(row.clone()).await.unwrap();
        let refused = store.insert_app(new_app("shop")).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        assert!(store.list_apps(ALL).await.unwrap().is_empty());
        plain.let_go().await;

        app(&store, "shop").await;
        until_available(async || store.flush().await).await;
        assert_eq!(store.find_execution(&row.id).await.unwrap(), row);
    })
    .await;
}
