//! Applies the migrations, and decides whether this release can use the database.
//!
//! Each migration from 9 on adds a row to the table `schema` with its `version` and `min_version`,
//! the newest migration that a release must know to use the database. A release starts on a newer
//! schema if it meets the `min_version` of every migration that it lacks.
//!
//! Invariant: a database that this release must not use stays unchanged.

use std::collections::BTreeMap;
use std::iter;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::dialect::Dialect;
use super::{Error, Result};

/// The first migration that states its `min_version`.
const FIRST_STATED: i64 = 9;

/// Applies the missing migrations, and the statements that differ between the databases.
///
/// Errors: `Schema` if a newer release has used the database and this release must not.
pub(super) async fn migrate(connection: &mut AnyConnection, dialect: Dialect) -> Result<()> {
    // Locks before the first look: two servers that start at the same time would both create the
    // table of migrations, and a newer release could migrate in between.
    connection.lock().await.map_err(Error::migration)?;
    let migrated = migrate_alone(connection, dialect).await;
    let unlocked = connection.unlock().await.map_err(Error::migration);
    migrated.and(unlocked)
}

/// Does [`migrate`] under its lock. The statements after the migrations need the lock too: if two
/// servers create the same index, one fails on PostgreSQL, even with `IF NOT EXISTS`.
async fn migrate_alone(connection: &mut AnyConnection, dialect: Dialect) -> Result<()> {
    let mut migrator = sqlx::migrate!("../migrations");
    migrator.set_locking(false);
    guard(connection, &migrator).await?;
    // The guard has accepted every migration that this release does not know.
    migrator.set_ignore_missing(true);
    migrator.run(&mut *connection).await.map_err(Error::migration)?;
    // The SQL that both databases share has no clock, so a migration writes 0.
    let timed = format!("UPDATE audit SET created_at = {} WHERE created_at = 0", dialect.now());
    for statement in iter::once(timed).chain(dialect.after_migrations()) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Refuses a database with a migration that needs a newer release.
async fn guard(connection: &mut AnyConnection, migrator: &Migrator) -> Result<()> {
    let unknown = unknown_migrations(connection, migrator).await.map_err(Error::migration)?;
    let Some(&schema) = unknown.iter().max() else { return Ok(()) };
    let release = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
    let stated = stated(connection, &unknown).await?;
    // A migration without a row has no `min_version`; only a release that contains it can start.
    let needed = unknown.iter().map(|version| stated.get(version).unwrap_or(version)).max();
    let min_version = needed.copied().unwrap_or(schema);
    if min_version > release {
        return Err(Error::Schema { schema, min_version, release });
    }
    Ok(())
}

/// Returns the applied migrations that this release lacks.
async fn unknown_migrations(
    connection: &mut AnyConnection,
    migrator: &Migrator,
) -> Result<Vec<i64>, MigrateError> {
    connection.ensure_migrations_table(&migrator.table_name).await?;
    let applied = connection.list_applied_migrations(&migrator.table_name).await?;
    let applied = applied.into_iter().map(|migration| migration.version);
    Ok(applied.filter(|version| !migrator.version_exists(*version)).collect())
}

/// Returns the stated `min_version` of each migration, by its version.
async fn stated(connection: &mut AnyConnection, unknown: &[i64]) -> Result<BTreeMap<i64, i64>> {
    if unknown.iter().all(|version| *version < FIRST_STATED) {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT version, min_version FROM schema").fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}
