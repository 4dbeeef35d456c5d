//! Whether what the commits of a group add still fits into their apps.
//!
//! First the most that a commit can add is held against what its app keeps. Only where that
//! does not fit, what it writes over is looked at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::{Commit, Write};
use crate::store::blobs::Contents;
use crate::store::dialect::Dialect;
use crate::store::storage::{self, StorageLimits};
use crate::store::{AppId, NewEvent, Result, Space, Storage, StorageFull, bulk};

/// How many expired keys one commit removes when its app is full.
const EXPIRED_MAX: u32 = 1000;

/// What the apps of a group keep, with what was accepted of it.
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
    /// Reads what the apps of those commits keep that can be refused.
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

    /// Takes the room that a commit needs.
    ///
    /// # Errors
    /// From the database; the inner error is the limit that it would exceed.
    pub(super) async fn take(
        &mut self,
        connection: &mut AnyConnection,
        dialect: Dialect,
        commit: &Commit,
    ) -> Result<Result<(), StorageFull>> {
        let Some(app_id) = app_of(commit).filter(|_| commit.is_limited) else { return Ok(Ok(())) };
        // An app that keeps nothing yet has no row on PostgreSQL.
        let now = self.apps.get(app_id).copied().unwrap_or_default();
        // The events of a deletion may exceed their limit a little: else an app whose events have
        // reached it could not be tidied up.
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

/// The app whose storage grows: a commit is one app's.
fn app_of(commit: &Commit) -> Option<&AppId> {
    let written = commit.writes.iter().map(|write| &write.collection.app_id);
    written.chain(commit.events.iter().map(|caused| &caused.event.app_id)).next()
}

/// The most that a commit adds: as if nothing were there that it writes over.
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

/// Removes a part of the app's keys whose time is up; what they took, as a negative growth.
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

/// What goes when these are written, as a negative growth.
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
            // What a file had stays on the disk for a while, and counts until it is removed.
            Space::Files => gone.files -= 1,
        }
    }
    Ok(gone)
}

/// Whether events from outside still fit into their app.
///
/// # Errors
/// From the database; the inner error is the limit that they would exceed.
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
