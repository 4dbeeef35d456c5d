//! Applies a group of commits as one operation of the writer, with one statement per table.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::{AnyConnection, AssertSqlSafe};

use super::room::Room;
use super::validate::State;
use super::{Applied, Caused, CollectionKey, Commit, Committed, Disposition, Write};
use crate::faults::{self, Point};
use crate::store::dialect::Dialect;
use crate::store::entries::{Entry, EntryName};
use crate::store::hot_entries::HotKey;
use crate::store::outbox::Handover;
use crate::store::revision::STORED_REVISION;
use crate::store::storage::StorageLimits;
use crate::store::writer::WriterId;
use crate::store::{
    AppId, EventId, FreedBlob, Json, Lease, NewEvent, Operation, Result, Space, abandoned, audit,
    blobs, bulk, dead_letters, executions, outbox,
};

/// The parts of the store that applying a group needs.
pub(super) struct Parts<'a> {
    pub(super) handover: &'a Handover,
    pub(super) writer: &'a WriterId,
    pub(super) storage: &'a StorageLimits,
}

/// Writes the acceptable commits and returns the result of each commit.
pub(super) async fn apply(
    connection: &mut AnyConnection,
    dialect: Dialect,
    Parts { handover, writer, storage }: Parts<'_>,
    commits: &[Arc<Commit>],
) -> Result<Applied> {
    let mut held = held_leases(connection, dialect, commits).await?;
    let writes: Vec<&Write> = commits.iter().flat_map(|commit| &commit.writes).collect();
    let reads = commits.iter().flat_map(|commit| &commit.reads);
    let now = commits.iter().map(|commit| commit.at).max().unwrap_or(0);
    let mut state = State::read(connection, dialect, reads, &writes, now).await?;

    let mut room = Room::read(connection, dialect, storage, commits).await?;
    let definitions = if commits.iter().any(|commit| commit.definitions.is_some()) {
        Some(sqlx::query_scalar(STORED_REVISION).fetch_one(&mut *connection).await?)
    } else {
        None
    };

    let mut outcomes = Vec::with_capacity(commits.len());
    let mut accepted = Vec::with_capacity(commits.len());
    let mut events = Vec::new();
    for commit in commits {
        let lease = commit.end.as_ref().map(|end| &end.lease);
        let mut stamp = None;
        let committed = if lease.is_some_and(|lease| !held.contains(lease)) {
            Committed::LeaseLost
        } else if commit.definitions.is_some() && commit.definitions != definitions {
            Committed::Stale
        } else if !state.agrees_with(&commit.reads) {
            Committed::Conflict
        } else if let Err(full) = room.take(connection, dialect, commit).await? {
            Committed::Full(full)
        } else {
            // An event ends only once, also within a group.
            lease.map(|lease| held.remove(lease));
            let operations = state.accept(&commit.writes);
            let caused = commit.events.iter();
            events.extend(caused.filter_map(|caused| happened(caused, &operations)));
            accepted.push(&**commit);
            stamp = commit.writes.last().and_then(|write| state.stamp(write));
            Committed::Done
        };
        outcomes.push((committed, stamp));
    }
    let freed = freed_blobs(connection, dialect, &state).await?;
    blobs::free(connection, dialect, &freed).await?;
    write_entries(connection, dialect, &state, now).await?;
    let taken = handover.reserve(&mut events, now);
    if let Some(taken) = &taken {
        taken.append(connection, dialect).await?;
    }
    outbox::append(connection, dialect, &events).await?;
    insert_executions(connection, dialect, writer, &accepted).await?;
    let retried = end_events(connection, dialect, &accepted).await?;
    for entry in accepted.iter().filter_map(|commit| commit.audit.as_deref()) {
        audit::append(connection, entry).await?;
    }
    faults::point(Point::InsideCommit);
    let is_to_claim = retried > 0 || !events.is_empty();
    let changed = changed_entries(state, now);
    Ok(Applied { outcomes, frees_blobs: !freed.is_empty(), taken, is_to_claim, changed })
}

/// Returns the entries as they are after the group.
fn changed_entries(state: State, now: i64) -> Vec<(HotKey, Option<Arc<Entry>>)> {
    let changed = state.written.into_iter().map(|((collection, name), (write, version))| {
        let CollectionKey { app_id, space, name: collection } = collection;
        let of = EntryName { space, collection: &collection, name: &name };
        let key = HotKey::of(&app_id, of);
        let entry = write.value.map(|value| {
            let expires_at = write.expires_at;
            Arc::new(Entry { name, value, version, expires_at, updated_at: now })
        });
        (key, entry)
    });
    changed.collect()
}

/// Returns the event, if the write it depends on happened as wanted.
fn happened(caused: &Caused, operations: &[Option<Operation>]) -> Option<NewEvent> {
    let mut event = caused.event.clone();
    if let Some((write, wanted)) = &caused.of_write {
        let operation = operations[*write].filter(|operation| wanted.contain(*operation))?;
        operation.as_str().clone_into(&mut event.operation);
    }
    Some(event)
}

/// Returns the leases that are still held. On PostgreSQL their rows stay locked until the
/// transaction ends.
async fn held_leases(
    connection: &mut AnyConnection,
    dialect: Dialect,
    commits: &[Arc<Commit>],
) -> Result<HashSet<Lease>> {
    let leases = commits.iter().filter_map(|commit| Some(&commit.end.as_ref()?.lease));
    let rows: Vec<_> =
        leases.map(|Lease { event_id, attempt, token }| (event_id, *attempt, token)).collect();
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let query = format!(
        "SELECT o.id, o.attempt, o.lease_token FROM {} JOIN outbox o ON o.id = r.value->>0 \
         AND o.attempt = CAST(r.value->>1 AS BIGINT) AND o.lease_token = r.value->>2{}",
        dialect.rows(),
        dialect.lock_rows("o")
    );
    let held: Vec<(EventId, i64, String)> =
        sqlx::query_as(AssertSqlSafe(query)).bind(bulk::json(&rows)?).fetch_all(connection).await?;
    let held = held.into_iter();
    Ok(held.map(|(event_id, attempt, token)| Lease { event_id, attempt, token }).collect())
}

/// Returns the contents of the files that are about to be overwritten or deleted.
async fn freed_blobs(
    connection: &mut AnyConnection,
    dialect: Dialect,
    state: &State,
) -> Result<Vec<FreedBlob>> {
    let written = state.written.keys().filter(|(collection, _)| collection.space == Space::Files);
    let rows: Vec<_> =
        written.map(|(collection, name)| (&collection.app_id, &collection.name, name)).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT e.app_id, e.value FROM {} JOIN entries e ON e.app_id = r.value->>0 \
         AND e.space = 'files' AND e.collection = r.value->>1 AND e.name = r.value->>2",
        dialect.rows()
    );
    let old: Vec<(AppId, Json)> =
        sqlx::query_as(AssertSqlSafe(query)).bind(bulk::json(&rows)?).fetch_all(connection).await?;
    Ok(old.iter().filter_map(|(app_id, value)| FreedBlob::of_file(app_id, value)).collect())
}

async fn write_entries(
    connection: &mut AnyConnection,
    dialect: Dialect,
    state: &State,
    now: i64,
) -> Result<()> {
    let moved: Vec<_> = state
        .moved_collections()
        .into_iter()
        .map(|(key, version)| (&key.app_id, key.space, &key.name, version))
        .collect();
    let update = format!(
        "UPDATE collections SET version = CAST(r.value->>3 AS BIGINT) FROM {} \
         WHERE app_id = r.value->>0 AND space = r.value->>1 AND name = r.value->>2",
        dialect.rows()
    );
    bulk::run(connection, update, &moved).await?;

    let (mut set, mut deleted) = (Vec::new(), Vec::new());
    for ((collection, name), (write, version)) in &state.written {
        let key = (&collection.app_id, collection.space, &collection.name, name);
        match &write.value {
            Some(value) => {
                set.push((key.0, key.1, key.2, key.3, value, version, write.expires_at, now));
            }
            None => deleted.push(key),
        }
    }
    let upsert = format!(
        "INSERT INTO entries (app_id, space, collection, name, value, version, expires_at, \
         updated_at) SELECT r.value->>0, r.value->>1, r.value->>2, r.value->>3, r.value->>4, \
         CAST(r.value->>5 AS BIGINT), CAST(r.value->>6 AS BIGINT), CAST(r.value->>7 AS BIGINT) \
         FROM {} WHERE true ON CONFLICT (app_id, space, collection, name) DO UPDATE SET \
         value = excluded.value, version = excluded.version, expires_at = excluded.expires_at, \
         updated_at = excluded.updated_at",
        dialect.rows()
    );
    bulk::run(connection, upsert, &set).await?;
    let delete = format!(
        "DELETE FROM entries WHERE (app_id, space, collection, name) IN \
         (SELECT r.value->>0, r.value->>1, r.value->>2, r.value->>3 FROM {})",
        dialect.rows()
    );
    bulk::run(connection, delete, &deleted).await?;
    Ok(())
}

async fn insert_executions(
    connection: &mut AnyConnection,
    dialect: Dialect,
    writer: &WriterId,
    accepted: &[&Commit],
) -> Result<()> {
    if accepted.iter().all(|commit| commit.executions.is_empty()) {
        return Ok(());
    }
    let rows = accepted.iter().flat_map(|commit| &commit.executions);
    executions::insert(connection, dialect, writer, &executions::Encoded::as_rows(rows)?).await
}

/// Acknowledges the events that started the runs. Returns the number of events to retry.
async fn end_events(
    connection: &mut AnyConnection,
    dialect: Dialect,
    accepted: &[&Commit],
) -> Result<u64> {
    let (mut gone, mut retried, mut buried) = (Vec::new(), Vec::new(), Vec::new());
    let (mut resolved, mut abandoned, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for commit in accepted {
        let Some(end) = &commit.end else { continue };
        let id = &end.lease.event_id;
        match &end.disposition {
            Disposition::Complete => gone.push((id,)),
            Disposition::Retry { delay_us, error } => retried.push((id, delay_us, error)),
            Disposition::Bury(letter) => {
                gone.push((id,));
                buried.push(&**letter);
            }
        }
        if let Some((letter, resolution)) = &end.resolves {
            resolved.push((letter, resolution, commit.at));
        }
        abandoned.extend(&end.abandoned);
        if let Some(answer) = &end.answer {
            answers.push((id, answer));
        }
    }
    let rows = dialect.rows();
    let delete = format!("DELETE FROM outbox WHERE id IN (SELECT r.value->>0 FROM {rows})");
    bulk::run(connection, delete, &gone).await?;
    let retry = format!(
        "UPDATE outbox SET available_at = {} + CAST(r.value->>1 AS BIGINT), \
         last_error = r.value->>2, lease_token = NULL, leased_until = NULL, reply_to = NULL \
         FROM {rows} WHERE id = r.value->>0",
        dialect.now()
    );
    let retried = bulk::run(connection, retry, &retried).await?;
    if !buried.is_empty() {
        sqlx::query(AssertSqlSafe(dead_letters::insert_statement(dialect)))
            .bind(bulk::rows_json(buried)?)
            .execute(&mut *connection)
            .await?;
    }
    let resolve = format!(
        "UPDATE dead_letters SET resolution = r.value->>1, \
         resolved_at = CAST(r.value->>2 AS BIGINT) FROM {rows} \
         WHERE id = r.value->>0 AND (resolution IS NULL OR resolution = 'handler_failed')"
    );
    bulk::run(connection, resolve, &resolved).await?;
    if !abandoned.is_empty() {
        sqlx::query(AssertSqlSafe(abandoned::insert_statement(dialect)))
            .bind(bulk::rows_json(abandoned)?)
            .execute(&mut *connection)
            .await?;
    }
    let answer = format!(
        "UPDATE idempotency_keys SET answer = r.value->>1 FROM {rows} WHERE event_id = r.value->>0"
    );
    bulk::run(connection, answer, &answers).await?;
    Ok(retried)
}
