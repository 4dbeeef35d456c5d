//! Builds, merges and deletes blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::content::{self, Numbered};
use super::{EXECUTIONS_MAX, SPAN_US, TEXT_BYTES_MAX, text_bytes, walk};
use crate::store::dialect::Dialect;
use crate::store::executions::{Execution, ExecutionId, ExecutionScope};
use crate::store::{AppId, Result, ScriptId, bulk};

/// A block with fewer executions is small: it will be merged with others.
const SMALL: usize = EXECUTIONS_MAX / 2;

/// The number of small blocks of an app after which they are merged.
const MERGED_AFTER: u32 = 16;

/// The number of an app's newest blocks that a merge considers.
const CONSIDERED: i64 = 64;

/// A block without its place in the log.
pub(in crate::store) struct Packed {
    app_id: AppId,
    first_id: ExecutionId,
    last_id: ExecutionId,
    first_finished_at: i64,
    last_finished_at: i64,
    /// The number of sequence numbers from the first to the last execution.
    sequences: i64,
    executions: usize,
    scripts: BTreeSet<ScriptId>,
    content: Vec<u8>,
}

#[cfg(test)]
impl Packed {
    pub(super) fn scripts(&self) -> &BTreeSet<ScriptId> {
        &self.scripts
    }
}

/// Packs executions into blocks, in the order of their numbers.
///
/// # Errors
/// None for executions that a store accepts.
pub(in crate::store) fn pack(rows: Vec<&Execution>) -> Result<Vec<Packed>> {
    let mut of_apps: BTreeMap<&AppId, Vec<(i64, &Execution)>> = BTreeMap::new();
    for row in rows {
        let rows = of_apps.entry(&row.app_id).or_default();
        rows.push((i64::try_from(rows.len()).unwrap_or(i64::MAX), row));
    }
    let mut packed = Vec::new();
    for rows in of_apps.into_values() {
        let mut rest = &rows[..];
        while let Some((of_block, others)) = split(rest) {
            packed.push(pack_one(of_block)?);
            rest = others;
        }
    }
    Ok(packed)
}

/// A part of the executions of an app, each with its number.
type Part<'r, 'e> = &'r [(i64, &'e Execution)];

/// Splits off as many executions as a block takes; `None` if there are none.
fn split<'r, 'e>(rows: Part<'r, 'e>) -> Option<(Part<'r, 'e>, Part<'r, 'e>)> {
    let mut open = Open::default();
    let taken = rows.iter().take_while(|(_, row)| open.takes(row)).count();
    // One execution always fits.
    (!rows.is_empty()).then(|| rows.split_at(taken.max(1)))
}

/// What a block under construction already has.
#[derive(Default)]
struct Open {
    executions: usize,
    text_bytes: usize,
    begun: Option<(i64, i64)>,
    finished: Option<(i64, i64)>,
}

impl Open {
    /// Adds an execution; `false` if the block would become too large or too long.
    fn takes(&mut self, row: &Execution) -> bool {
        self.executions += 1;
        self.text_bytes += text_bytes(row);
        self.executions <= EXECUTIONS_MAX
            && self.text_bytes <= TEXT_BYTES_MAX
            && is_near(&mut self.begun, begun_us(&row.id))
            && is_near(&mut self.finished, row.finished_at)
    }
}

/// Extends a range of times to `at`; `false` if it becomes longer than [`SPAN_US`].
fn is_near(range: &mut Option<(i64, i64)>, at: i64) -> bool {
    let (first, last) = range.map_or((at, at), |(first, last)| (first.min(at), last.max(at)));
    *range = Some((first, last));
    last.saturating_sub(first) <= SPAN_US
}

/// Returns when an execution began, µs, from its id (RFC 9562, section 5.7).
pub(super) fn begun_us(id: &ExecutionId) -> i64 {
    let bytes = Uuid::parse_str(id.as_str()).unwrap_or_default().into_bytes();
    let ms = bytes[..6].iter().fold(0_i64, |ms, byte| (ms << 8) | i64::from(*byte));
    ms * 1000
}

fn pack_one(rows: Part<'_, '_>) -> Result<Packed> {
    let each = || rows.iter().map(|(_, row)| row);
    let first = rows[0];
    let last_number = rows.last().map_or(first.0, |(number, _)| *number);
    let relative = rows.iter().map(|(number, row)| (number - first.0, *row));
    Ok(Packed {
        app_id: first.1.app_id.clone(),
        first_id: each().map(|row| &row.id).min().unwrap_or(&first.1.id).clone(),
        last_id: each().map(|row| &row.id).max().unwrap_or(&first.1.id).clone(),
        first_finished_at: each().map(|row| row.finished_at).min().unwrap_or_default(),
        last_finished_at: each().map(|row| row.finished_at).max().unwrap_or_default(),
        sequences: last_number - first.0 + 1,
        executions: rows.len(),
        scripts: each().map(|row| row.script_id.clone()).collect(),
        content: content::encode(relative)?,
    })
}

/// Returns how many sequence numbers these blocks need.
pub(in crate::store) fn sequences(blocks: &[Packed]) -> i64 {
    blocks.iter().map(|block| block.sequences).sum()
}

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
         last_sequence, first_finished_at, last_finished_at, executions, content) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
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

/// A block without its content.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct Head {
    pub(super) last_id: ExecutionId,
    pub(super) first_id: ExecutionId,
    pub(super) first_finished_at: i64,
    pub(super) last_finished_at: i64,
    pub(super) executions: i64,
    pub(super) bytes: i64,
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
         CAST(LENGTH(content) AS BIGINT) AS bytes FROM execution_blocks \
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

/// Returns how many of the blocks, newest first, to merge into one. A block is merged with newer
/// ones of together at least half its size, so that an execution is rewritten only a few times.
pub(super) fn to_merge(heads: &[Head]) -> usize {
    let (mut executions, mut bytes, mut count) = (0, 0, 0);
    let (mut begun, mut finished) = (None, None);
    for head in heads {
        let is_like = count == 0 || head.executions <= 2 * executions;
        executions += head.executions;
        bytes += head.bytes;
        let fits = is_like
            && executions <= EXECUTIONS_MAX as i64
            && bytes <= (TEXT_BYTES_MAX / 4) as i64
            && is_near(&mut begun, begun_us(&head.first_id))
            && is_near(&mut begun, begun_us(&head.last_id))
            && is_near(&mut finished, head.first_finished_at)
            && is_near(&mut finished, head.last_finished_at);
        if !fits {
            break;
        }
        count += 1;
    }
    if count > 1 { count } else { 0 }
}

/// Inserts executions that were taken from blocks again, with their numbers.
async fn put_back(
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

/// Deletes blocks, and returns the executions that they had, by writer and app. Skips blocks that are
/// gone, because another node has merged or deleted them, and those that cannot be read.
async fn take(
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

/// Deletes a block; `false` if it is gone.
async fn delete(
    connection: &mut AnyConnection,
    last_id: &ExecutionId,
    first_id: &ExecutionId,
) -> Result<bool> {
    let statement = "DELETE FROM execution_blocks WHERE last_id = $1 AND first_id = $2";
    let done = sqlx::query(statement).bind(last_id).bind(first_id).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

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
         CAST(LENGTH(b.content) AS BIGINT) AS bytes";
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
