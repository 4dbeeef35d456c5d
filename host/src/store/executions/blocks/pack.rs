//! Which executions form a block, and which blocks are merged. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::FromRow;

use super::content::{self, begun_us};
use super::{EXECUTIONS_MAX, SPAN_US, TEXT_BYTES_MAX, text_bytes};
use crate::store::executions::{Execution, ExecutionId};
use crate::store::{AppId, Result, ScriptId};

/// A block without its place in the log.
pub(in crate::store) struct Packed {
    pub(super) app_id: AppId,
    pub(super) first_id: ExecutionId,
    pub(super) last_id: ExecutionId,
    pub(super) first_finished_at: i64,
    pub(super) last_finished_at: i64,
    /// The number of sequence numbers from the first to the last execution.
    pub(super) sequences: i64,
    pub(super) executions: usize,
    pub(super) scripts: BTreeSet<ScriptId>,
    pub(super) content: Vec<u8>,
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
pub(super) type Part<'r, 'e> = &'r [(i64, &'e Execution)];

/// Splits off as many executions as a block takes; `None` at the end.
pub(super) fn split<'r, 'e>(rows: Part<'r, 'e>) -> Option<(Part<'r, 'e>, Part<'r, 'e>)> {
    let mut open = Open::default();
    let taken = rows.iter().take_while(|(_, row)| open.takes(row)).count();
    // One execution always fits.
    (!rows.is_empty()).then(|| rows.split_at(taken.max(1)))
}

/// The size and the times of a block under construction.
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

pub(super) fn pack_one(rows: Part<'_, '_>) -> Result<Packed> {
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
