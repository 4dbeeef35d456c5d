//! The releases that can use a database, and the rule that landed migrations never change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use picloud::store::{Error, Store};
use sha2::{Digest, Sha256};

use crate::database::{Database, Kind, with_fresh_database};
use crate::fixtures::{Plain, app, open};
use crate::on_both_databases;

const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");

/// Returns the content of each migration, by file name.
fn migrations() -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(MIGRATIONS).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|file| file.path().extension().is_some_and(|end| end == "sql"));
    files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

fn version(name: &str) -> i64 {
    name.split_once('_').unwrap().0.parse().unwrap()
}

/// Returns the newest migration of this release.
fn newest() -> i64 {
    migrations().keys().map(|name| version(name)).max().unwrap()
}

/// Applies a migration of a newer release, with its row in `schema` if given.
async fn migrated_by_newer(database: &Database, version: i64, min_version: Option<i64>) {
    let blank = match database.kind {
        Kind::Sqlite => "x''",
        Kind::Postgres => "''",
    };
    let mut plain = Plain::connect(database).await;
    plain
        .execute(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES ({version}, 'newer', TRUE, {blank}, 0)"
        ))
        .await;
    if let Some(min_version) = min_version {
        plain.execute(&format!("INSERT INTO schema VALUES ({version}, {min_version})")).await;
    }
}

/// Asserts that opening the database is refused with these versions.
async fn refused(database: &Database, schema: i64, min_version: i64) -> String {
    let error = Store::open(&database.url).await.map(drop).unwrap_err();
    let Error::Schema { schema: given, min_version: needed, release } = error else {
        panic!("{error:?}");
    };
    assert_eq!((given, needed, release), (schema, min_version, newest()));
    error.to_string()
}

#[test]
fn a_landed_migration_never_changes_not_even_in_a_comment() {
    let sums = fs::read_to_string(Path::new(MIGRATIONS).join("SHA256SUMS")).unwrap();
    let pinned: BTreeMap<_, _> = sums
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect();
    assert_eq!(sums.lines().count(), pinned.len(), "a migration has two lines");
    let found: BTreeMap<_, _> = migrations()
        .into_iter()
        .map(|(name, text)| (name, hex::encode(Sha256::digest(text))))
        .collect();
    assert_eq!(
        found, pinned,
        "a landed migration must stay as it is, and a new one is added to migrations/SHA256SUMS"
    );
}

#[test]
fn every_migration_has_a_number_of_its_own() {
    let versions: Vec<_> = migrations().keys().map(|name| version(name)).collect();
    assert_eq!(versions.iter().collect::<BTreeSet<_>>().len(), versions.len(), "{versions:?}");
}

/// SQLite refuses a second server.
#[tokio::test]
async fn several_servers_start_on_a_new_postgres_at_once() {
    // Twice, because the second start has no migrations to wait for.
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        for _ in 0..2 {
            let servers = (0..8).map(|_| Store::open(&database.url));
            for store in futures::future::join_all(servers).await {
                store.unwrap().close().await.unwrap();
            }
        }
    })
    .await;
}

on_both_databases! {
    async fn every_migration_from_9_on_states_who_may_use_it(database) {
        open(database).await.close().await.unwrap();
        let stated = Plain::connect(database).await.pairs("SELECT version, min_version FROM schema ORDER BY version").await;
        let versions: Vec<_> = stated.iter().map(|row| row.0).collect();
        let mut expected: Vec<_> = migrations().keys().map(|name| version(name)).collect();
        expected.retain(|version| *version >= 9);
        assert_eq!(versions, expected);
        for (version, min_version) in stated {
            assert!((9..=version).contains(&min_version), "{version}: {min_version}");
        }
    }

    async fn a_release_starts_on_a_newer_schema_that_it_meets(database) {
        let store = open(database).await;
        let made = app(&store, "shop").await;
        store.close().await.unwrap();
        migrated_by_newer(database, 9_998, Some(9)).await;
        migrated_by_newer(database, 9_999, Some(newest())).await;
        let store = open(database).await;
        assert_eq!(store.find_app(&made.id).await.unwrap(), made);
        app(&store, "blog").await;
    }

    async fn a_release_refuses_a_newer_schema_that_needs_a_newer_one(database) {
        open(database).await.close().await.unwrap();
        let needed = newest() + 1;
        migrated_by_newer(database, 9_998, Some(needed)).await;
        migrated_by_newer(database, 9_999, Some(9)).await;
        let sentence = refused(database, 9_999, needed).await;
        assert_eq!(sentence, format!(
            "the database has schema 9999, which needs a release of PiCloud with schema {needed} \
             or newer; this release, {}, has schema {}. Start the newer release, or restore a \
             backup from before the upgrade", env!("CARGO_PKG_VERSION"), newest()
        ));
    }

    async fn a_newer_migration_that_states_nothing_is_refused(database) {
        open(database).await.close().await.unwrap();
        migrated_by_newer(database, 9_999, None).await;
        refused(database, 9_999, 9_999).await;
    }

    async fn a_refused_database_is_left_as_it_is(database) {
        open(database).await.close().await.unwrap();
        migrated_by_newer(database, 9_999, Some(9_999)).await;
        // As if this release lacked its last migration, which would then be applied again.
        let mut plain = Plain::connect(database).await;
        let last = format!("DELETE FROM _sqlx_migrations WHERE version = {}", newest());
        plain.execute(&last).await;
        refused(database, 9_999, 9_999).await;
        let applied = "SELECT version, version FROM _sqlx_migrations ORDER BY version DESC LIMIT 2";
        let applied = Plain::connect(database).await.pairs(applied).await;
        assert_eq!(applied[0], (9_999, 9_999));
        assert!(applied[1].0 < newest(), "{applied:?}");
    }
}
