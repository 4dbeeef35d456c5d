//! Keeps the log of executions below its maximum size.
//!
//! ```text
//!  too large ─▶ executions without effects, oldest first, until they have a quarter of the maximum
//!            ─▶ failures and runs of events, oldest first
//! ```
//!
//! Failures and runs of events are rarer and are looked at more often, so they stay longer.

use crate::store::{self, BY_AGE_SETTING, LogSize, Store};

use super::BATCH_ROWS;

/// The maximum size of the log of a new installation, in bytes.
pub const LOG_BYTES_MAX: u64 = 4 << 30;

/// Returns the maximum size of the log, in bytes; `None` without a limit. `configured` is the
/// operator's: 0 for no limit.
pub(super) async fn maximum(
    store: &Store,
    configured: Option<u64>,
    now: i64,
) -> Result<Option<u64>, store::Error> {
    if let Some(bytes) = configured {
        return Ok((bytes > 0).then_some(bytes));
    }
    let by_age = store.find_setting(BY_AGE_SETTING).await?;
    if by_age.as_deref() == Some("untold") {
        tracing::warn!(
            "the log of executions of this installation is limited by age, not by size. \
             PICLOUD_EXECUTION_LOG_BYTES_MAX sets a limit; new installations have 4 GiB"
        );
        store.put_setting(BY_AGE_SETTING, "told", now).await?;
    }
    Ok(by_age.is_none().then_some(LOG_BYTES_MAX))
}

/// Deletes executions until the log is no larger than `bytes_max`. Returns their number.
pub(super) async fn shrink(store: &Store, bytes_max: u64) -> Result<u64, store::Error> {
    let size = store.log_size().await?;
    let Excess { mut of_blocks, mut rows } = excess(size, bytes_max);
    let mut deleted = 0;
    while of_blocks > 0 {
        let (executions, bytes) = store.delete_oldest_blocks(of_blocks).await?;
        if bytes == 0 {
            break;
        }
        (deleted, of_blocks) = (deleted + executions, of_blocks - bytes);
    }
    while rows > 0 {
        let executions = store.delete_oldest_executions(rows.min(BATCH_ROWS)).await?;
        if executions == 0 {
            break;
        }
        (deleted, rows) = (deleted + executions, rows - executions.cast_signed());
    }
    Ok(deleted)
}

/// The part of the log that is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Excess {
    /// The bytes of blocks.
    of_blocks: i64,
    /// The number of rows.
    rows: i64,
}

fn excess(size: LogSize, bytes_max: u64) -> Excess {
    let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
    let over = (size.bytes() - bytes_max).max(0);
    let of_blocks = over.min((size.blocks - bytes_max / 4).max(0));
    let of_rows = over - of_blocks;
    let row_bytes = size.row_bytes.max(1);
    Excess { of_blocks, rows: of_rows / row_bytes + i64::from(of_rows % row_bytes > 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_without_effects_give_way_first() {
        let of = |blocks, rows| {
            let excess = excess(LogSize { blocks, rows, row_bytes: 10 }, 1_000);
            (excess.of_blocks, excess.rows)
        };
        assert_eq!(of(1_000, 0), (0, 0));
        assert_eq!(of(1_001, 0), (1, 0));
        assert_eq!(of(600, 50), (100, 0));
        assert_eq!(of(300, 100), (50, 25), "a quarter is left");
        assert_eq!(of(200, 100), (0, 20));
        assert_eq!(of(0, 100), (0, 0));
        assert_eq!(of(0, 101), (0, 1));
        assert_eq!(of(5, 100), (0, 1), "a part of a row");
    }
}
