//! Checks whether the additions of a group of commits fit into the limits of their apps.
//!
//! Each commit is first checked as if it overwrote nothing. Overwritten rows are only read when
//! that does not fit.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::{Commit, Write};
use crate::store::blobs::Contents;
use crate::store::dialect::Dialect;
use crate::store::storage::{self, StorageLimits};
use crate::store::{AppId, NewEvent, Result, Space, Storage, StorageFull, bulk};

/// The maximum number of expired keys that one commit removes when its app is full.
const EXPIRED_MAX: u32 = 1000;

/// The storage use of a group's apps, including the commits accepted so far.
pub(super) struct Room<'a> {
    limits: &'a StorageLimits,
    apps: HashMap<AppId, Storage>,
}

#[derive(FromRow)]
struct OldRow {
    #[sqlx(try_from = "String")]
    space: Space,
    name_bytes: i64,
    value_bytes: i64,
}

impl<'a> Room<'a> {
    /// Reads the storage use of the apps whose commits can be refused.
    pub(super) async fn read(
        connection: &mut AnyConnection,
        dialect: Dialect,
        limits: &'a StorageLimits,
        commits: &[Arc<Commit>],
    ) -> Result<Self> {
        let limited = commits.iter().filter(|commit| commit.is_limited);
        let apps: BTreeSet<_> = limited.filter_map(|commit| app_of(commit)).collect();
        let apps = storage::read(connection, dialect, apps.into_iter()).await?;
        for (app_id, now) in &apps {
            limits.note(app_id, now);
        }
        Ok(Self { limits, apps })
    }

    /// Reserves the storage that a commit needs.
    ///
    /// # Errors
    /// Errors of the database; the inner error is the limit that the commit would exceed.
    pub(super) async fn take(
        &mut self,
        connection: &mut AnyConnection,
        dialect: Dialect,
        commit: &Commit,
    ) -> Result<Result<(), StorageFull>> {
        let Some(app_id) = app_of(commit).filter(|_| commit.is_limited) else { return Ok(Ok(())) };
        // An empty app has no row on PostgreSQL.
        let now = self.apps.get(app_id).copied().unwrap_or_default();
        // Events caused by deletions can exceed the limit by a tenth; otherwise an app at its event
        // limit could not be cleaned up.
        let most =
            if commit.only_deletes() { self.limits.most.plus_a_tenth() } else { self.limits.most };
        let (mut now, mut growth) = (now, growth(commit));
        if now.check(&growth, &most).is_err() {
            growth = growth.plus(&written_over(connection, dialect, &commit.writes).await?);
        }
        if now.check(&growth, &most).is_err() {
            now = now.plus(&remove_expired(connection, app_id, commit.at).await?);
        }
        if let Err(full) = now.check(&growth, &most) {
            self.apps.insert(app_id.clone(), now);
            return Ok(Err(self.limits.count(full)));
        }
        self.apps.insert(app_id.clone(), now.plus(&growth));
        Ok(Ok(()))
    }
}

/// Returns the app whose storage grows. A commit concerns one app.
fn app_of(commit: &Commit) -> Option<&AppId> {
    let written = commit.writes.iter().map(|write| &write.collection.app_id);
    written.chain(commit.events.iter().map(|caused| &caused.event.app_id)).next()
}

/// Returns the maximum that a commit adds, as if it overwrote nothing.
fn growth(commit: &Commit) -> Storage {
    let mut growth = Storage::default();
    for write in &commit.writes {
        let Some(value) = &write.value else { continue };
        match write.collection.space {
            Space::Kv => {
                growth.entries += 1;
                growth.entry_bytes += (write.name.len() + value.as_str().len()) as i64;
            }
            Space::Files => {
                growth.files += 1;
                growth.file_bytes += value.to::<Contents>().map_or(0, |blob| blob.size_bytes);
            }
        }
    }
    growth.plus(&growth_of_events(commit.events.iter().map(|caused| &caused.event)))
}

/// Removes some of the app's expired keys. Returns their size as a negative growth.
async fn remove_expired(
    connection: &mut AnyConnection,
    app_id: &AppId,
    now: i64,
) -> Result<Storage> {
    let delete = format!(
        "DELETE FROM entries WHERE (app_id, space, collection, name) IN \
         (SELECT app_id, space, collection, name FROM entries WHERE expires_at IS NOT NULL \
         AND expires_at <= $2 AND app_id = $1 AND space = 'kv' LIMIT {EXPIRED_MAX}) \
         RETURNING CAST(OCTET_LENGTH(name) + OCTET_LENGTH(value) AS BIGINT)"
    );
    let removed: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(delete))
        .bind(app_id)
        .bind(now)
        .fetch_all(connection)
        .await?;
    Ok(Storage {
        entries: -(removed.len() as i64),
        entry_bytes: -removed.iter().sum::<i64>(),
        ..Storage::default()
    })
}

/// Returns the size of the overwritten rows as a negative growth.
async fn written_over(
    connection: &mut AnyConnection,
    dialect: Dialect,
    writes: &[Write],
) -> Result<Storage> {
    let rows: Vec<_> = writes
        .iter()
        .map(|write| {
            let collection = &write.collection;
            (&collection.app_id, collection.space, &collection.name, &write.name)
        })
        .collect();
    if rows.is_empty() {
        return Ok(Storage::default());
    }
    let query = format!(
        "SELECT e.space, CAST(OCTET_LENGTH(e.name) AS BIGINT) AS name_bytes, \
         CAST(OCTET_LENGTH(e.value) AS BIGINT) AS value_bytes \
         FROM {} JOIN entries e ON e.app_id = r.value->>0 AND e.space = r.value->>1 \
         AND e.collection = r.value->>2 AND e.name = r.value->>3",
        dialect.rows()
    );
    let old: Vec<OldRow> =
        sqlx::query_as(AssertSqlSafe(query)).bind(bulk::json(&rows)?).fetch_all(connection).await?;
    let mut gone = Storage::default();
    for row in old {
        match row.space {
            Space::Kv => {
                gone.entries -= 1;
                gone.entry_bytes -= row.name_bytes + row.value_bytes;
            }
            // A file's old contents stay on disk for a while, and count until they are removed.
            Space::Files => gone.files -= 1,
        }
    }
    Ok(gone)
}

/// Checks whether events from outside fit into their app's limits.
///
/// # Errors
/// Errors of the database; the inner error is the limit that the events would exceed.
pub(in crate::store) async fn check_events(
    connection: &mut AnyConnection,
    dialect: Dialect,
    limits: &StorageLimits,
    events: &[NewEvent],
) -> Result<Result<(), StorageFull>> {
    let Some(app_id) = events.first().map(|event| &event.app_id) else { return Ok(Ok(())) };
    let apps = storage::read(connection, dialect, std::iter::once(app_id)).await?;
    let now = apps.get(app_id).copied().unwrap_or_default();
    limits.note(app_id, &now);
    let fits = now.check(&growth_of_events(events.iter()), &limits.most);
    Ok(fits.map_err(|full| limits.count(full)))
}

fn growth_of_events<'a>(events: impl Iterator<Item = &'a NewEvent>) -> Storage {
    let mut growth = Storage::default();
    for event in events {
        growth.events += 1;
        growth.event_bytes += event.payload.as_str().len() as i64;
    }
    growth
}
