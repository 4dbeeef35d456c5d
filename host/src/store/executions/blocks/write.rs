//! Inserts and merges blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use sqlx::{AnyConnection, AssertSqlSafe};

use super::content::Numbered;
use super::pack::{Head, Packed, pack_one, split, to_merge};
use super::{EXECUTIONS_MAX, walk};
use crate::store::dialect::Dialect;
use crate::store::executions::{Execution, ExecutionId};
use crate::store::{AppId, Result, bulk};

/// A block with fewer executions is small: it will be merged with others.
const SMALL: usize = EXECUTIONS_MAX / 2;

/// The number of small blocks of an app after which they are merged.
const MERGED_AFTER: u32 = 16;

/// The number of an app's newest blocks that a merge considers.
const CONSIDERED: i64 = 64;

/// Inserts packed blocks with the sequence numbers from `next` on.
pub(in crate::store) async fn insert(
    connection: &mut AnyConnection,
    dialect: Dialect,
    writer: i64,
    mut next: i64,
    blocks: &[Packed],
) -> Result<()> {
    for block in blocks {
        insert_at(connection, dialect, writer, next, block).await?;
        next += block.sequences;
    }
    Ok(())
}

async fn insert_at(
    connection: &mut AnyConnection,
    dialect: Dialect,
    writer: i64,
    first_sequence: i64,
    block: &Packed,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO execution_blocks (last_id, first_id, app_id, writer, first_sequence, \
         last_sequence, first_finished_at, last_finished_at, executions, bytes, content) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(block.last_id.clone())
    .bind(block.first_id.clone())
    .bind(block.app_id.clone())
    .bind(writer)
    .bind(first_sequence)
    .bind(first_sequence + block.sequences - 1)
    .bind(block.first_finished_at)
    .bind(block.last_finished_at)
    .bind(i64::try_from(block.executions).unwrap_or(i64::MAX))
    .bind(i64::try_from(block.content.len()).unwrap_or(i64::MAX))
    .bind(block.content.clone())
    .execute(&mut *connection)
    .await?;
    let scripts: Vec<_> = block.scripts.iter().map(|id| (id,)).collect();
    let statement = format!(
        "INSERT INTO execution_block_scripts (script_id, last_finished_at, last_id, first_id) \
         SELECT r.value->>0, CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT) FROM {}",
        dialect.rows()
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(bulk::json(&scripts)?)
        .bind(block.last_finished_at)
        .bind(block.last_id.clone())
        .bind(block.first_id.clone())
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns which of these executions are stored already, as rows or in blocks.
pub(in crate::store) async fn exists(
    connection: &mut AnyConnection,
    dialect: Dialect,
    rows: &[Execution],
) -> Result<BTreeSet<ExecutionId>> {
    let ids: Vec<_> = rows.iter().map(|row| (&row.id,)).collect();
    let query = format!(
        "SELECT id FROM executions WHERE id IN (SELECT r.value->>0 FROM {})",
        dialect.rows()
    );
    let found: Vec<(ExecutionId,)> = sqlx::query_as(AssertSqlSafe(query))
        .bind(bulk::json(&ids)?)
        .fetch_all(&mut *connection)
        .await?;
    let mut found: BTreeSet<_> = found.into_iter().map(|(id,)| id).collect();
    for row in rows {
        if takes_and_has(connection, row).await? {
            found.insert(row.id.clone());
        }
    }
    Ok(found)
}

async fn takes_and_has(connection: &mut AnyConnection, row: &Execution) -> Result<bool> {
    Ok(super::takes(row) && walk::find(connection, &row.id).await?.is_some())
}

/// Counts the small blocks of each app, to merge them in time. Lost when the process ends: the
/// next merge of an app considers all its newest blocks.
#[derive(Default)]
pub(in crate::store) struct Small(Mutex<HashMap<AppId, u32>>);

impl Small {
    /// Counts blocks, and returns the apps whose blocks are to be merged.
    pub(in crate::store) fn count(&self, blocks: &[Packed]) -> Vec<AppId> {
        let mut small = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for block in blocks.iter().filter(|block| block.executions < SMALL) {
            let count = small.entry(block.app_id.clone()).or_default();
            *count += 1;
            if *count >= MERGED_AFTER {
                small.remove(&block.app_id);
                due.push(block.app_id.clone());
            }
        }
        due
    }
}

/// Merges the newest blocks of an app that this writer has written.
pub(in crate::store) async fn merge(
    connection: &mut AnyConnection,
    dialect: Dialect,
    writer: i64,
    app_id: &AppId,
) -> Result<()> {
    let heads: Vec<Head> = sqlx::query_as(
        "SELECT last_id, first_id, first_finished_at, last_finished_at, executions, \
         bytes FROM execution_blocks \
         WHERE app_id = $1 AND writer = $2 ORDER BY last_sequence DESC LIMIT $3",
    )
    .bind(app_id)
    .bind(writer)
    .bind(CONSIDERED)
    .fetch_all(&mut *connection)
    .await?;
    let merged = to_merge(&heads);
    for rows in take(connection, dialect, &heads[..merged]).await?.into_values() {
        put_back(connection, dialect, writer, rows).await?;
    }
    Ok(())
}

/// Inserts executions that were taken from blocks again, with their numbers.
pub(super) async fn put_back(
    connection: &mut AnyConnection,
    dialect: Dialect,
    writer: i64,
    mut rows: Vec<Numbered>,
) -> Result<()> {
    rows.sort_by_key(|row| row.sequence);
    let rows: Vec<_> = rows.iter().map(|row| (row.sequence, &row.execution)).collect();
    let mut rest = &rows[..];
    while let Some((of_block, others)) = split(rest) {
        insert_at(connection, dialect, writer, of_block[0].0, &pack_one(of_block)?).await?;
        rest = others;
    }
    Ok(())
}

/// Deletes blocks, and returns the executions that they had, by writer and app. Skips blocks that
/// another node has merged or deleted meanwhile, and those that cannot be read.
pub(super) async fn take(
    connection: &mut AnyConnection,
    dialect: Dialect,
    heads: &[Head],
) -> Result<BTreeMap<(i64, AppId), Vec<Numbered>>> {
    let mut taken: BTreeMap<_, Vec<Numbered>> = BTreeMap::new();
    for Head { last_id, first_id, .. } in heads {
        let Some(block) = walk::block(connection, last_id, first_id).await? else { continue };
        let Ok(rows) = block.executions() else { continue };
        if !delete(connection, last_id, first_id).await? {
            continue;
        }
        let scripts: BTreeSet<_> = rows.iter().map(|row| &row.execution.script_id).collect();
        let scripts: Vec<_> = scripts.into_iter().map(|id| (id,)).collect();
        let statement = format!(
            "DELETE FROM execution_block_scripts WHERE last_finished_at = $2 AND last_id = $3 \
             AND script_id IN (SELECT r.value->>0 FROM {})",
            dialect.rows()
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(bulk::json(&scripts)?)
            .bind(block.last_finished_at)
            .bind(last_id)
            .execute(&mut *connection)
            .await?;
        taken.entry((block.writer, block.app_id)).or_default().extend(rows);
    }
    Ok(taken)
}

/// Deletes a block; `false` if it no longer exists.
pub(super) async fn delete(
    connection: &mut AnyConnection,
    last_id: &ExecutionId,
    first_id: &ExecutionId,
) -> Result<bool> {
    let statement = "DELETE FROM execution_blocks WHERE last_id = $1 AND first_id = $2";
    let done = sqlx::query(statement).bind(last_id).bind(first_id).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}
