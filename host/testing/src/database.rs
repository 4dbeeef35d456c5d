//! A fresh, empty database of either kind for one test. It is deleted afterwards.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use picloud::store::DatabaseUrl;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The kinds of database that PiCloud supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// The database of one test.
pub struct Database {
    /// The kind of database.
    pub kind: Kind,
    /// The URL for `Store::open`.
    pub url: DatabaseUrl,
    /// The URL for a plain sqlx connection.
    pub plain_url: String,
}

/// Runs `test` with a fresh database, which is deleted even if the test panics.
pub async fn with_fresh_database(kind: Kind, test: impl AsyncFnOnce(&Database)) {
    let outcome = match kind {
        Kind::Sqlite => {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let file = folder.path().join("picloud.db");
            let database = Database {
                kind,
                url: DatabaseUrl::sqlite_file(&file).expect("an absolute path"),
                plain_url: format!("sqlite://{}", file.display()),
            };
            AssertUnwindSafe(test(&database)).catch_unwind().await
        }
        Kind::Postgres => {
            let server = std::env::var("PICLOUD_TEST_POSTGRES_URL").expect(
                "PICLOUD_TEST_POSTGRES_URL names no server: run through `make test`, \
                 or `.ci/with-postgres cargo test`",
            );
            // Test binaries, and the tests of one binary, run concurrently.
            static DATABASES: AtomicU32 = AtomicU32::new(0);
            let count = DATABASES.fetch_add(1, Ordering::Relaxed);
            let name = format!("picloud_{}_{count}", std::process::id());
            administer(&server, format!("CREATE DATABASE {name} TEMPLATE template0")).await;
            let (address, _) =
                server.rsplit_once('/').expect("a URL that ends with the name of a database");
            let plain_url = format!("{address}/{name}");
            let database =
                Database { kind, url: plain_url.parse().expect("a database URL"), plain_url };
            let outcome = AssertUnwindSafe(test(&database)).catch_unwind().await;
            administer(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
            outcome
        }
    };
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn administer(server: &str, statement: String) {
    let mut connection = PgConnection::connect(server).await.expect("the test server");
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("a database created or dropped");
    connection.close().await.expect("a closed connection");
}

/// Turns one test body into a test on each database: `name::sqlite`, `name::postgres`.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$doc:meta])* async fn $name:ident($database:ident) $body:block)+) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            async fn test($database: &$crate::database::Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::database::with_fresh_database($crate::database::Kind::Sqlite, test).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::database::with_fresh_database($crate::database::Kind::Postgres, test).await;
            }
        }
    )+};
}
