//! Reads blocks in the order of lists.
//!
//! ```text
//!  blocks, by their last execution    ──[f────l]──
//!                                  ──[f──────l]─────
//!                            ──[f───────l]──              time ─▶
//!                                      │
//!  all blocks to come end before here ─┘ so the executions after it are final
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::content::{self, Numbered, Unreadable, begun_us};
use super::{SPAN_US, searched_bytes};
use crate::store::executions::{Execution, ExecutionId, ExecutionScope};
use crate::store::listing::{LOOKED_AT_MAX, Position};
use crate::store::{AppId, Result};

/// The maximum size of the texts that a list examines in blocks, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// The interval of warnings about unreadable blocks.
const TOLD_INTERVAL: Duration = Duration::from_secs(600);

/// The number of blocks read at once: few at first, because a page needs one or two.
const STEP_MIN: i64 = 2;
const STEP_MAX: i64 = 16;

/// A stored block.
#[derive(FromRow)]
pub(super) struct Block {
    pub(super) app_id: AppId,
    pub(super) writer: i64,
    first_sequence: i64,
    last_sequence: i64,
    pub(super) last_finished_at: i64,
    last_id: ExecutionId,
    content: Vec<u8>,
}

const COLUMNS: &str = "b.app_id, b.writer, b.first_sequence, b.last_sequence, \
    b.last_finished_at, b.last_id, b.content";

/// The blocks `b` with executions of a script, which `s` names.
pub(in crate::store::executions) const BLOCKS_OF_SCRIPTS: &str = "execution_block_scripts s JOIN execution_blocks b \
    ON b.last_id = s.last_id AND b.first_id = s.first_id";

impl Block {
    /// Returns its executions in the order of their numbers.
    ///
    /// # Errors
    /// Fails if the content is damaged; this is logged.
    pub(super) fn executions(&self) -> Result<Vec<Numbered>, Unreadable> {
        let mut rows = content::decode(&self.app_id, &self.content).inspect_err(|error| {
            // Every list that reaches the block reads it again.
            if is_to_tell() {
                tracing::warn!(app_id = %self.app_id, last_id = %self.last_id, "{error}");
            }
        })?;
        for row in &mut rows {
            row.sequence += self.first_sequence;
        }
        Ok(rows)
    }
}

/// Whether the operator is told of an unreadable block: once in [`TOLD_INTERVAL`].
fn is_to_tell() -> bool {
    static TOLD_AT: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told_at = TOLD_AT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = told_at.is_none_or(|at| at.elapsed() >= TOLD_INTERVAL);
    if is_due {
        *told_at = Some(Instant::now());
    }
    is_due
}

/// Returns a block; `None` if it no longer exists.
pub(super) async fn block(
    connection: &mut AnyConnection,
    last_id: &ExecutionId,
    first_id: &ExecutionId,
) -> Result<Option<Block>> {
    let query = format!(
        "SELECT {COLUMNS} FROM execution_blocks b WHERE b.last_id = $1 AND b.first_id = $2"
    );
    let query = sqlx::query_as(AssertSqlSafe(query)).bind(last_id).bind(first_id);
    Ok(query.fetch_optional(connection).await?)
}

/// Finds an execution in the blocks, and its writer.
pub(in crate::store::executions) async fn find(
    connection: &mut AnyConnection,
    id: &ExecutionId,
) -> Result<Option<(i64, Numbered)>> {
    let query = format!(
        "SELECT {COLUMNS} FROM execution_blocks b \
         WHERE b.last_id >= $1 AND b.last_id <= $2 AND b.first_id <= $1"
    );
    let blocks: Vec<Block> = sqlx::query_as(AssertSqlSafe(query))
        .bind(id)
        .bind(last_id_of_block_with(id))
        .fetch_all(connection)
        .await?;
    for block in blocks.iter().filter(|block| content::has(&block.content, id)) {
        let Ok(rows) = block.executions() else { continue };
        let found = rows.into_iter().find(|row| row.execution.id == *id);
        if let Some(found) = found {
            return Ok(Some((block.writer, found)));
        }
    }
    Ok(None)
}

/// Returns the largest id that a block with this id can have.
fn last_id_of_block_with(id: &ExecutionId) -> ExecutionId {
    let ms = u64::try_from((begun_us(id) + SPAN_US) / 1000).unwrap_or(u64::MAX);
    let mut bytes = [0xff; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes).into()
}

/// Selects executions in blocks.
#[derive(Clone, Copy)]
pub(in crate::store) struct Range<'a> {
    pub(in crate::store) scope: &'a ExecutionScope,
    /// The earliest finish time, µs.
    pub(in crate::store) from: i64,
    /// The end of the finish times, exclusive, µs.
    pub(in crate::store) to: i64,
    /// Only executions after this position in the list, which begins with the newest.
    pub(in crate::store) after: Option<&'a Position>,
    /// The maximum number of executions returned.
    pub(in crate::store) count: usize,
}

/// Executions of blocks, in the order of a list.
#[derive(Debug)]
pub(in crate::store) struct Walked<T> {
    pub(in crate::store) rows: Vec<(Position, T)>,
    /// The position to continue from, if too many executions were examined.
    pub(in crate::store) looked_to: Option<Position>,
}

impl<T> Default for Walked<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), looked_to: None }
    }
}

impl Range<'_> {
    /// Returns the newest executions for which `keep` returns something, newest first.
    pub(in crate::store) async fn newest<T>(
        &self,
        connection: &mut AnyConnection,
        mut keep: impl FnMut(Execution) -> Option<T>,
    ) -> Result<Walked<T>> {
        let mut found: Vec<(Position, T)> = Vec::new();
        let (mut rejected, mut bytes) = (0, 0);
        let mut before: Option<(i64, ExecutionId)> = None;
        let mut step = STEP_MIN;
        loop {
            let blocks = self.blocks(connection, before.as_ref(), step).await?;
            let is_last = i64::try_from(blocks.len()).unwrap_or(i64::MAX) < step;
            step = (step * 2).min(STEP_MAX);
            let mut stopped_at = None;
            for block in &blocks {
                let Ok(rows) = block.executions() else { continue };
                for Numbered { execution, .. } in rows {
                    if !self.has(&execution) {
                        continue;
                    }
                    bytes += searched_bytes(&execution);
                    let position = position(&execution);
                    match keep(execution) {
                        Some(kept) => found.push((position, kept)),
                        None => rejected += 1,
                    }
                }
                if rejected >= LOOKED_AT_MAX || bytes >= TEXT_BYTES_MAX {
                    stopped_at = Some(block.last_finished_at);
                    break;
                }
            }
            found.sort_by(|(a, _), (b, _)| b.cmp_newest_last(a));
            let last = blocks.last().filter(|_| !is_last);
            // The blocks to come have no later execution.
            let reached = stopped_at.or(last.map(|block| block.last_finished_at));
            let finals = match reached {
                Some(reached) => found.partition_point(|(position, _)| position.at > reached),
                None => found.len(),
            };
            let is_complete = reached.is_none() || finals >= self.count;
            if is_complete || stopped_at.is_some() {
                found.truncate(finals.min(self.count));
                let end = |at| Position { at, id: Uuid::max().hyphenated().to_string() };
                let looked_to = stopped_at.filter(|_| !is_complete).map(end);
                return Ok(Walked { rows: found, looked_to });
            }
            before = last.map(|block| (block.last_finished_at, block.last_id.clone()));
        }
    }

    /// Returns the next blocks, by their last execution, newest first.
    async fn blocks(
        &self,
        connection: &mut AnyConnection,
        before: Option<&(i64, ExecutionId)>,
        limit: i64,
    ) -> Result<Vec<Block>> {
        // A block that begins before the last wanted time ends at most a span later.
        let last = self.after.map_or(i64::MAX, |after| after.at).min(self.to.saturating_sub(1));
        let before = before.cloned();
        let (before_at, before_id) =
            before.unwrap_or_else(|| (last.saturating_add(SPAN_US), Uuid::max().into()));
        let (table, of) = match self.scope {
            ExecutionScope::App(_) => ("execution_blocks b", "b"),
            ExecutionScope::Script(_) => (BLOCKS_OF_SCRIPTS, "s"),
        };
        let query = format!(
            "SELECT {COLUMNS} FROM {table} WHERE {of}.{} = $1 \
             AND ({of}.last_finished_at, {of}.last_id) < ($2, $3) AND {of}.last_finished_at >= $4 \
             AND b.first_finished_at <= $5 \
             ORDER BY {of}.last_finished_at DESC, {of}.last_id DESC LIMIT $6",
            self.scope.column()
        );
        let query = sqlx::query_as(AssertSqlSafe(query))
            .bind(self.scope.id().to_owned())
            .bind(before_at)
            .bind(before_id)
            .bind(self.from)
            .bind(last)
            .bind(limit);
        Ok(query.fetch_all(connection).await?)
    }

    fn has(&self, row: &Execution) -> bool {
        let is_after =
            |after: &Position| (row.finished_at, row.id.as_str()) < (after.at, after.id.as_str());
        row.finished_at >= self.from
            && row.finished_at < self.to
            && self.scope.covers(row)
            && self.after.is_none_or(is_after)
    }
}

/// Returns the position of an execution in a list.
pub(in crate::store) fn position(row: &Execution) -> Position {
    Position { at: row.finished_at, id: row.id.as_str().to_owned() }
}

/// Returns at least `count` executions of a scope after the position, oldest first, if there are as
/// many.
pub(in crate::store::executions) async fn oldest(
    connection: &mut AnyConnection,
    scope: &ExecutionScope,
    after: (i64, &str),
    count: usize,
) -> Result<Vec<Execution>> {
    let (table, of) = match scope {
        ExecutionScope::App(_) => ("execution_blocks b", "b"),
        ExecutionScope::Script(_) => (BLOCKS_OF_SCRIPTS, "s"),
    };
    let beyond = format!(
        "FROM {table} WHERE {of}.{} = $1 AND ({of}.last_finished_at, {of}.last_id) > ($2, $3)",
        scope.column()
    );
    let next = format!(
        "SELECT {COLUMNS} {beyond} ORDER BY {of}.last_finished_at, {of}.last_id LIMIT {STEP_MAX}"
    );
    // A block that begins earlier ends within a span.
    let earliest =
        format!("SELECT MIN(b.first_finished_at) {beyond} AND {of}.last_finished_at <= $4");
    let (mut found, mut reached): (Vec<Execution>, _) = (Vec::new(), (after.0, String::new()));
    loop {
        let blocks: Vec<Block> = sqlx::query_as(AssertSqlSafe(next.clone()))
            .bind(scope.id().to_owned())
            .bind(reached.0)
            .bind(reached.1.clone())
            .fetch_all(&mut *connection)
            .await?;
        for block in &blocks {
            let Ok(rows) = block.executions() else { continue };
            let rows = rows.into_iter().map(|row| row.execution);
            let is_after = |row: &Execution| (row.finished_at, row.id.as_str()) > after;
            found.extend(rows.filter(|row| is_after(row) && scope.covers(row)));
        }
        found.sort_by(|a, b| (a.finished_at, &a.id).cmp(&(b.finished_at, &b.id)));
        let is_last = i64::try_from(blocks.len()).unwrap_or(i64::MAX) < STEP_MAX;
        let Some(last) = blocks.last().filter(|_| !is_last) else { return Ok(found) };
        reached = (last.last_finished_at, last.last_id.as_str().to_owned());
        let earliest: Option<i64> = sqlx::query_scalar(AssertSqlSafe(earliest.clone()))
            .bind(scope.id().to_owned())
            .bind(reached.0)
            .bind(reached.1.clone())
            .bind(reached.0.saturating_add(SPAN_US))
            .fetch_one(&mut *connection)
            .await?;
        let until = earliest.unwrap_or(i64::MAX).min(reached.0);
        let of_this = found.partition_point(|row| row.finished_at < until);
        if of_this >= count {
            found.truncate(of_this);
            return Ok(found);
        }
    }
}

/// Returns at least `count` executions of an app that a writer has numbered after `last`, in order,
/// if there are as many.
pub(in crate::store::executions) async fn numbered_after(
    connection: &mut AnyConnection,
    app_id: &AppId,
    writer: i64,
    last: i64,
    count: usize,
) -> Result<Vec<Numbered>> {
    let query = format!(
        "SELECT {COLUMNS} FROM execution_blocks b WHERE b.app_id = $1 AND b.writer = $2 \
         AND b.last_sequence > $3 ORDER BY b.last_sequence LIMIT {STEP_MAX}"
    );
    let (mut found, mut reached) = (Vec::new(), last);
    loop {
        let blocks: Vec<Block> = sqlx::query_as(AssertSqlSafe(query.clone()))
            .bind(app_id)
            .bind(writer)
            .bind(reached)
            .fetch_all(&mut *connection)
            .await?;
        let is_last = i64::try_from(blocks.len()).unwrap_or(i64::MAX) < STEP_MAX;
        for block in &blocks {
            reached = block.last_sequence;
            let Ok(rows) = block.executions() else { continue };
            found.extend(rows.into_iter().filter(|row| row.sequence > last));
        }
        if is_last || found.len() >= count {
            return Ok(found);
        }
    }
}
