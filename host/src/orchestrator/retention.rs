//! Old executions go.
//!
//! Invariant: rows are deleted in small batches, so that no write waits long
//! behind them.

use std::time::Duration;

use crate::clock::Clock;
use crate::store::{self, Store};

/// How often old rows are looked for.
const INTERVAL: Duration = Duration::from_secs(3600);

/// How many rows go in one transaction.
const BATCH_ROWS: i64 = 500;

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// Keeps executions for a number of days.
#[derive(Clone)]
pub struct Retention {
    /// Where the rows are.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// For how many days a row is kept.
    pub execution_log_days: u32,
}

impl Retention {
    /// Deletes what is too old now, and then every hour. Never returns.
    pub async fn run(self) {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            match self.run_once().await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!(deleted, "old executions are gone"),
                Err(error) => tracing::warn!(%error, "old executions could not be deleted"),
            }
        }
    }

    /// Deletes what is too old now and returns how many rows that were.
    ///
    /// # Errors
    /// From the store; what was deleted before stays deleted.
    pub async fn run_once(&self) -> Result<u64, store::Error> {
        let kept_since = self.clock.now_us() - i64::from(self.execution_log_days) * DAY_US;
        let mut deleted = 0;
        loop {
            let batch = self.store.delete_executions_before(kept_since, BATCH_ROWS).await?;
            deleted += batch;
            if batch < BATCH_ROWS.unsigned_abs() {
                return Ok(deleted);
            }
        }
    }
}
