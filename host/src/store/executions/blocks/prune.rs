//! Deletes executions from blocks.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::content::Numbered;
use super::pack::Head;
use super::write::{delete, put_back, take};
use super::{SPAN_US, walk};
use crate::store::Result;
use crate::store::dialect::Dialect;
use crate::store::executions::ExecutionScope;

/// Deletes the executions of a scope that finished before `at`, of as many blocks as have at least
/// `limit` of them. Returns their number; fewer than `limit` if no more are left.
pub(in crate::store) async fn prune(
    connection: &mut AnyConnection,
    dialect: Dialect,
    scope: Option<&ExecutionScope>,
    at: i64,
    limit: i64,
) -> Result<u64> {
    let limit = u64::try_from(limit).unwrap_or(0);
    let (mut deleted, mut after) = (0, (i64::MIN, String::new()));
    while deleted < limit {
        let heads = old(connection, scope, at, &after).await?;
        let Some(last) = heads.last() else { break };
        after = (last.last_finished_at, last.last_id.as_str().to_owned());
        for head in heads {
            deleted += prune_one(connection, dialect, scope, at, &head).await?;
        }
    }
    Ok(deleted)
}

async fn prune_one(
    connection: &mut AnyConnection,
    dialect: Dialect,
    scope: Option<&ExecutionScope>,
    at: i64,
    head: &Head,
) -> Result<u64> {
    let is_kept = |row: &Numbered| {
        let is_other = scope.is_some_and(|scope| !scope.covers(&row.execution));
        row.execution.finished_at >= at || is_other
    };
    let Head { last_id, first_id, .. } = head;
    let Some(block) = walk::block(connection, last_id, first_id).await? else { return Ok(0) };
    let Ok(rows) = block.executions() else {
        // Its age is that of its last execution.
        let is_old = block.last_finished_at < at;
        return Ok(u64::from(is_old && delete(connection, last_id, first_id).await?));
    };
    if rows.iter().all(is_kept) {
        return Ok(0);
    }
    let mut deleted = 0;
    for ((writer, _), rows) in take(connection, dialect, std::slice::from_ref(head)).await? {
        let (kept, old): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_kept);
        deleted += old.len() as u64;
        put_back(connection, dialect, writer, kept).await?;
    }
    Ok(deleted)
}

/// The number of blocks pruned with one query.
const PRUNED_AT_ONCE: i64 = 8;

/// Returns blocks of a scope that have an execution from before `at`, oldest first.
async fn old(
    connection: &mut AnyConnection,
    scope: Option<&ExecutionScope>,
    at: i64,
    after: &(i64, String),
) -> Result<Vec<Head>> {
    let columns = "b.last_id, b.first_id, b.first_finished_at, b.last_finished_at, b.executions, \
         b.bytes";
    let (table, of, condition) = match scope {
        None => ("execution_blocks b", "b", "$5 = ''"),
        Some(ExecutionScope::App(_)) => ("execution_blocks b", "b", "b.app_id = $5"),
        Some(ExecutionScope::Script(_)) => (walk::BLOCKS_OF_SCRIPTS, "s", "s.script_id = $5"),
    };
    // A block that begins before `at` ends at most a span later.
    let query = format!(
        "SELECT {columns} FROM {table} WHERE {condition} AND b.first_finished_at < $1 \
         AND {of}.last_finished_at < $2 AND ({of}.last_finished_at, {of}.last_id) > ($3, $4) \
         ORDER BY {of}.last_finished_at, {of}.last_id LIMIT {PRUNED_AT_ONCE}"
    );
    let query = sqlx::query_as(AssertSqlSafe(query))
        .bind(at)
        .bind(at.saturating_add(SPAN_US))
        .bind(after.0)
        .bind(after.1.clone())
        .bind(scope.map_or("", ExecutionScope::id).to_owned());
    Ok(query.fetch_all(connection).await?)
}

/// Deletes the oldest blocks, as many as have `bytes`, but at most [`PRUNED_AT_ONCE`]. Returns the
/// number of executions and of bytes; 0 bytes at the end.
pub(in crate::store) async fn delete_oldest(
    connection: &mut AnyConnection,
    dialect: Dialect,
    bytes: i64,
) -> Result<(u64, i64)> {
    let heads: Vec<Head> = sqlx::query_as(
        "SELECT last_id, first_id, first_finished_at, last_finished_at, executions, bytes \
         FROM execution_blocks ORDER BY last_finished_at, last_id LIMIT $1",
    )
    .bind(PRUNED_AT_ONCE)
    .fetch_all(&mut *connection)
    .await?;
    let (mut executions, mut freed) = (0, 0);
    for head in heads {
        if freed >= bytes {
            break;
        }
        if take(connection, dialect, std::slice::from_ref(&head)).await?.is_empty() {
            // It cannot be read, or no longer exists.
            delete(connection, &head.last_id, &head.first_id).await?;
        }
        executions += u64::try_from(head.executions).unwrap_or(0);
        freed += head.bytes;
    }
    Ok((executions, freed))
}
