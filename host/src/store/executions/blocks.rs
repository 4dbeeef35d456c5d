//! Executions in blocks: hundreds of small executions as one compressed row.
//!
//! ```text
//!  a flush of the recorder ─▶ one block per app ─┬─▶ 16 small ones ─▶ merged into a larger one
//!                                                └─▶ lists, single executions, followers
//!
//!  content  executions as bytes
//!  pack     which executions form a block, and which blocks are merged; pure
//!  write    inserts and merges blocks
//!  prune    deletes executions from blocks
//!  walk     reads blocks in the order of lists
//! ```
//!
//! Most executions succeed, change nothing and are never looked at. As rows of their own they cost
//! 900 bytes and more each; in a block, 30 to 100: decision 38. Executions with an event, an effect
//! or an error stay rows, because lists of these must find them by an index.
//!
//! Invariant: an execution is stored either as a row or in exactly one block.
//! Invariant: the ids of a block lie within [`SPAN_US`] of each other, and so do its finish times.

mod content;
mod pack;
mod prune;
#[cfg(test)]
mod tests;
pub(in crate::store) mod walk;
mod write;

use super::Execution;
use crate::store::Json;

pub(super) use content::Numbered;
pub(in crate::store) use pack::Packed;
pub(super) use pack::{pack, sequences};
pub(super) use prune::{delete_oldest, prune};
pub(super) use write::insert;
pub(in crate::store) use write::{Small, exists, merge};

/// The maximum distance between the ids of a block, and between its finish times, µs.
const SPAN_US: i64 = 3_600_000_000;

/// The maximum number of executions of a block.
const EXECUTIONS_MAX: usize = 512;

/// The maximum size of a block's texts before compression, unless it has only one execution.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// A larger execution stays a row of its own, because lists read whole blocks.
const EXECUTION_BYTES_MAX: usize = 16 << 10;

/// Whether an execution is stored in a block.
pub(in crate::store) fn takes(row: &Execution) -> bool {
    content::is_storable(row) && text_bytes(row) <= EXECUTION_BYTES_MAX
}

/// Returns the size of the texts of an execution, in bytes.
fn text_bytes(row: &Execution) -> usize {
    let response = row.response.as_ref().map_or(0, |json| json.as_str().len());
    row.request.as_str().len() + response + row.log.as_str().len()
}

/// Returns the size of an execution's texts that a search reads.
fn searched_bytes(row: &Execution) -> usize {
    text_bytes(row) + row.error.as_ref().map(Json::as_str).map_or(0, str::len)
}
