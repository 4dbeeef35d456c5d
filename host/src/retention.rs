//! Deletes old rows, the contents of deleted files, and rows left behind by changed definitions.
//!
//! ```text
//! retention  rows past their retention time
//! sweep      file contents that no entry refers to
//! log_size   executions beyond the maximum size of the log
//! remains    messages that move to another trigger, and rows of deleted apps
//! ```
//!
//! Invariant: rows are deleted in small batches, so that no other write waits long.

mod log_size;
pub mod remains;
pub mod sweep;

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::{self, Store};
use sweep::Sweep;

pub use log_size::LOG_BYTES_MAX;

/// The interval between deletions.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The maximum number of rows deleted in one transaction.
const BATCH_ROWS: i64 = 500;

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// The retention of idempotency keys.
const IDEMPOTENCY_DAYS: u32 = 1;

/// The time that a host stays reserved after the last node that served it has stopped.
const RESERVED_HOSTS_DAYS: i64 = 7;

/// The hosts that this node serves.
#[derive(Clone)]
pub struct OwnHosts {
    /// The node.
    pub node: String,
    /// The hosts, in their normal form.
    pub hosts: Vec<String>,
}

impl OwnHosts {
    /// Reserves the hosts in the database, so that no node lets an app claim them.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn reserve(&self, store: &Store, now: i64) -> Result<(), store::Error> {
        let forget_before = now - RESERVED_HOSTS_DAYS * DAY_US;
        store.reserve_hosts(&self.node, &self.hosts, now, forget_before).await
    }
}

/// The setting that stores when old rows were last deleted, µs.
const LAST_SETTING: &str = "retention_ran_at";

/// A clock that has advanced further than this since the last deletion is not trusted at first.
const JUMP_DAYS: i64 = 31;

/// The time that such a clock is not trusted.
const JUMP_BELIEVED: Duration = Duration::from_secs(24 * 3600);

/// Returns how many days the clock has jumped since `last`; `None` if it is plausible.
fn jump_days(last: i64, now: i64) -> Option<i64> {
    let days = now.saturating_sub(last) / DAY_US;
    (days > JUMP_DAYS).then_some(days)
}

/// Deletes rows after a number of days.
#[derive(Clone)]
pub struct Retention {
    /// The database.
    pub store: Store,
    /// Provides the time.
    pub clock: Clock,
    /// The hosts that this node reserves.
    pub own_hosts: OwnHosts,
    /// Removes the contents of deleted files.
    pub sweep: Option<Sweep>,
    /// The retention of the audit log, in days.
    pub audit_days: u32,
    /// The retention of executions, in days.
    pub execution_log_days: u32,
    /// The maximum size of the log of executions, in bytes: 0 for no limit. `None` for the default,
    /// which only new installations have.
    pub execution_log_bytes_max: Option<u64>,
    /// The retention of dead letters, in days.
    pub dead_letter_days: u32,
    /// The retention of responses that no caller received, in days.
    pub abandoned_execution_days: u32,
}

/// The numbers of deleted rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Entries of the audit log.
    pub audit: u64,
    /// Executions.
    pub executions: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Responses that no caller received.
    pub abandoned_executions: u64,
    /// Idempotency keys.
    pub idempotency_keys: u64,
    /// Expired entries.
    pub entries: u64,
    /// Expired sessions.
    pub sessions: u64,
    /// File contents that no entry refers to.
    pub blobs: u64,
}

impl Retention {
    /// Deletes old rows now and then every hour. Never returns.
    pub async fn run(self) {
        let mut interval = tokio::time::interval(INTERVAL);
        let mut jumped_at: Option<Instant> = None;
        loop {
            interval.tick().await;
            match self.run_unless_jumped(&mut jumped_at).await {
                Ok(deleted) if deleted == Deleted::default() => {}
                Ok(deleted) => tracing::info!(?deleted, "old rows were deleted"),
                Err(error) => {
                    error.tell("old rows could not be deleted");
                }
            }
        }
    }

    /// Calls [`Retention::run_once`], unless the clock has advanced too far since the last time: a
    /// wrong clock must not delete everything at once. After a day the clock is trusted.
    async fn run_unless_jumped(
        &self,
        jumped_at: &mut Option<Instant>,
    ) -> Result<Deleted, store::Error> {
        let (store, now) = (&self.store, self.clock.now_us());
        store.note_clock().await?;
        let last = store.find_setting(LAST_SETTING).await?;
        let last = last.and_then(|last| last.parse::<i64>().ok());
        if let Some(days) = last.and_then(|last| jump_days(last, now)) {
            let since = jumped_at.get_or_insert_with(Instant::now);
            if since.elapsed() < JUMP_BELIEVED {
                tracing::warn!(
                    "the clock is {days} days ahead of the last deletion of old rows: \
                     nothing is deleted for a day. Correct the clock if it is wrong"
                );
                return Ok(Deleted::default());
            }
        }
        *jumped_at = None;
        let deleted = self.run_once().await?;
        store.put_setting(LAST_SETTING, &now.to_string(), now).await?;
        Ok(deleted)
    }

    /// Deletes old rows now and returns their numbers.
    ///
    /// # Errors
    /// Errors of the store. Rows that were already deleted stay deleted.
    pub async fn run_once(&self) -> Result<Deleted, store::Error> {
        let (store, now) = (&self.store, self.clock.now_us());
        if store.is_shared() {
            self.own_hosts.reserve(store, now).await?;
        }
        let since = |days: u32| now - i64::from(days) * DAY_US;
        let at = since(self.execution_log_days);
        let mut executions = all(|| store.delete_executions_before(None, at, BATCH_ROWS)).await?;
        let maximum = log_size::maximum(store, self.execution_log_bytes_max, now).await?;
        if let Some(bytes_max) = maximum {
            executions += log_size::shrink(store, bytes_max).await?;
        }
        let at = since(self.audit_days);
        let audit = all(|| store.delete_audit_before(at, BATCH_ROWS)).await?;
        let at = since(self.dead_letter_days);
        let letters = all(|| store.delete_dead_letters_before(at, BATCH_ROWS)).await?;
        let at = since(self.abandoned_execution_days);
        let abandoned = all(|| store.delete_abandoned_executions_before(at, BATCH_ROWS)).await?;
        let at = since(IDEMPOTENCY_DAYS);
        let keys = all(|| store.delete_idempotency_keys_before(at, BATCH_ROWS)).await?;
        let entries = all(|| store.delete_expired_entries(now, BATCH_ROWS)).await?;
        let sessions = all(|| store.delete_expired_sessions(now, BATCH_ROWS)).await?;
        while store.give_back_room().await? {}
        let blobs = match &self.sweep {
            Some(sweep) => sweep.orphans().await?,
            None => 0,
        };
        Ok(Deleted {
            audit,
            executions,
            dead_letters: letters,
            abandoned_executions: abandoned,
            idempotency_keys: keys,
            entries,
            sessions,
            blobs,
        })
    }
}

/// Deletes batches until one is not full.
async fn all<F: Future<Output = Result<u64, store::Error>>>(
    mut batch: impl FnMut() -> F,
) -> Result<u64, store::Error> {
    let mut deleted = 0;
    loop {
        let count = batch().await?;
        deleted += count;
        if count < BATCH_ROWS.unsigned_abs() {
            return Ok(deleted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_far_ahead_is_noticed() {
        let now = 20_000 * DAY_US;
        assert_eq!(jump_days(now, now), None);
        assert_eq!(jump_days(now - 31 * DAY_US, now), None);
        assert_eq!(jump_days(now - 32 * DAY_US, now), Some(32));
        // The clock was ahead and has been corrected.
        assert_eq!(jump_days(now + 30_000 * DAY_US, now), None);
        assert_eq!(jump_days(i64::MIN, now), Some(i64::MAX / DAY_US));
    }
}
