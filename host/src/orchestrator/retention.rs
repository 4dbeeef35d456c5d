//! What is old goes.
//!
//! Invariant: rows are deleted in small batches, so that no write waits long
//! behind them.

use std::time::Duration;

use tokio::time::Instant;

use super::sweep::Sweep;
use crate::clock::Clock;
use crate::store::{self, Store};

/// How often old rows are looked for.
const INTERVAL: Duration = Duration::from_secs(3600);

/// How many rows go in one transaction.
const BATCH_ROWS: i64 = 500;

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// How long an idempotency key is remembered.
const IDEMPOTENCY_DAYS: u32 = 1;

/// For how long a host stays reserved after the last node that had it.
const RESERVED_HOSTS_DAYS: i64 = 7;

/// The hosts on which this node is meant to be found.
#[derive(Clone)]
pub struct OwnHosts {
    /// The node.
    pub node: String,
    /// Its hosts, in their normal form.
    pub hosts: Vec<String>,
}

impl OwnHosts {
    /// Makes them known to all nodes, so that nobody can claim them on another one.
    ///
    /// # Errors
    /// From the store.
    pub async fn reserve(&self, store: &Store, now: i64) -> Result<(), store::Error> {
        let forget_before = now - RESERVED_HOSTS_DAYS * DAY_US;
        store.reserve_hosts(&self.node, &self.hosts, now, forget_before).await
    }
}

/// The setting that holds when old rows were last deleted, µs.
const LAST_SETTING: &str = "retention_ran_at";

/// A clock that has moved on so far since the last time is not believed at once.
const JUMP_DAYS: i64 = 31;

/// For how long it is not believed.
const JUMP_BELIEVED: Duration = Duration::from_secs(24 * 3600);

/// By how many days the clock has jumped since `last`; none if that can be time that passed.
fn jump_days(last: i64, now: i64) -> Option<i64> {
    let days = now.saturating_sub(last) / DAY_US;
    (days > JUMP_DAYS).then_some(days)
}

/// Keeps what grows for a number of days.
#[derive(Clone)]
pub struct Retention {
    /// Where the rows are.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// What other nodes are told of this one.
    pub own_hosts: OwnHosts,
    /// What removes the contents of files that are gone.
    pub sweep: Option<Sweep>,
    /// For how many days the audit log is kept.
    pub audit_days: u32,
    /// For how many days an execution is kept.
    pub execution_log_days: u32,
    /// For how many days a dead letter is kept.
    pub dead_letter_days: u32,
    /// For how many days an answer that nobody took is kept.
    pub abandoned_execution_days: u32,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Entries of the audit log.
    pub audit: u64,
    /// Executions.
    pub executions: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Answers that nobody took.
    pub abandoned_executions: u64,
    /// Idempotency keys.
    pub idempotency_keys: u64,
    /// Entries whose time was up.
    pub entries: u64,
    /// Sessions that are over.
    pub sessions: u64,
    /// Contents of files that no file describes.
    pub blobs: u64,
}

impl Retention {
    /// Deletes what is too old now, and then every hour. Never returns.
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

    /// [`Retention::run_once`], unless the clock shows far more than since the last time: a
    /// wrong clock must not delete everything at once. If it still does after a day, it is
    /// believed.
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
                    "the clock shows {days} days more than when old rows were last deleted: \
                     nothing is deleted for a day. Set the clock right if it is wrong"
                );
                return Ok(Deleted::default());
            }
        }
        *jumped_at = None;
        let deleted = self.run_once().await?;
        store.put_setting(LAST_SETTING, &now.to_string(), now).await?;
        Ok(deleted)
    }

    /// Deletes what is too old now and says how much that was.
    ///
    /// # Errors
    /// From the store; what was deleted before stays deleted.
    pub async fn run_once(&self) -> Result<Deleted, store::Error> {
        let (store, now) = (&self.store, self.clock.now_us());
        if store.is_shared() {
            self.own_hosts.reserve(store, now).await?;
        }
        let since = |days: u32| now - i64::from(days) * DAY_US;
        let at = since(self.execution_log_days);
        let executions = all(|| store.delete_executions_before(None, at, BATCH_ROWS)).await?;
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

/// Deletes batch by batch, until one is not full.
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
        // One that was ahead, and is set right.
        assert_eq!(jump_days(now + 30_000 * DAY_US, now), None);
        assert_eq!(jump_days(i64::MIN, now), Some(i64::MAX / DAY_US));
    }
}
