//! The storage use of each app: entries, files and events, counted as they change.
//!
//! ```text
//! a row of entries or outbox changes ─▶ the database adds the difference to `storage`
//! commit that adds ─▶ sum of the app's rows ─▶ within the limits? no ─▶ Full, nothing written
//! ```
//!
//! Database triggers maintain the counters, in the same transaction as every change of the rows. On
//! PostgreSQL each connection updates one of 16 rows of an app, so that nodes do not wait for each
//! other (decision 31).
//!
//! Invariant: the sum of an app's rows equals its storage use.
//! Invariant: a write that only ends an event, such as an acknowledgement, is never refused.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::dialect::Dialect;
use super::{AppId, Reads, Result, StorageFull, Store, bulk};

/// The percentage of a limit from which scripts are checked at every call.
const NEAR_PERCENT: i64 = 90;

/// The storage use of an app, or its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Storage {
    /// The number of keys in collections.
    pub entries: i64,
    /// The size of their names and values, in bytes.
    pub entry_bytes: i64,
    /// The number of files in buckets.
    pub files: i64,
    /// The size of their contents, in bytes, including overwritten or deleted contents that are not
    /// removed yet.
    pub file_bytes: i64,
    /// The number of events that are not done.
    pub events: i64,
    /// The size of their payloads, in bytes.
    pub event_bytes: i64,
}

impl Storage {
    /// The names of the limits, in the order of [`Storage::numbers`].
    pub const NAMES: [&'static str; 6] = [
        "app_entries",
        "app_entry_bytes",
        "app_files",
        "app_file_bytes",
        "app_events",
        "app_event_bytes",
    ];

    /// The default limits of an app.
    pub const DEFAULT_MAX: Self = Self {
        entries: 1_000_000,
        entry_bytes: 1 << 30,
        files: 100_000,
        file_bytes: 10 << 30,
        events: 1_000_000,
        event_bytes: 1 << 30,
    };

    /// Returns all six numbers, in order.
    #[must_use]
    pub fn numbers(&self) -> [i64; 6] {
        [self.entries, self.entry_bytes, self.files, self.file_bytes, self.events, self.event_bytes]
    }

    /// Returns the sum with `other`.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            entry_bytes: self.entry_bytes.saturating_add(other.entry_bytes),
            files: self.files.saturating_add(other.files),
            file_bytes: self.file_bytes.saturating_add(other.file_bytes),
            events: self.events.saturating_add(other.events),
            event_bytes: self.event_bytes.saturating_add(other.event_bytes),
        }
    }

    /// Returns these limits plus a tenth of each, at least ten.
    pub(super) fn plus_a_tenth(&self) -> Self {
        let more = |most: i64| most.saturating_add((most / 10).max(10));
        Self {
            entries: more(self.entries),
            entry_bytes: more(self.entry_bytes),
            files: more(self.files),
            file_bytes: more(self.file_bytes),
            events: more(self.events),
            event_bytes: more(self.event_bytes),
        }
    }

    /// Checks whether adding `growth` would exceed a limit of `most`. A number that does not grow
    /// is never refused, even if it is already over its limit.
    ///
    /// # Errors
    /// [`StorageFull`] with the first exceeded limit.
    pub fn check(&self, growth: &Self, most: &Self) -> Result<(), StorageFull> {
        let all = self.numbers().into_iter().zip(growth.numbers()).zip(most.numbers());
        for (((used, growth), most), limit) in all.zip(Self::NAMES) {
            let used = used.saturating_add(growth);
            if growth > 0 && used > most {
                return Err(StorageFull { limit, used, most });
            }
        }
        Ok(())
    }

    /// Whether the use is close to a limit.
    fn is_near(&self, most: &Self) -> bool {
        let all = self.numbers().into_iter().zip(most.numbers());
        all.into_iter().any(|(used, most)| used >= most / 100 * NEAR_PERCENT)
    }
}

/// Returns the columns of the sums over the rows of `storage` in `from`.
fn sums(from: &str) -> String {
    let sum = |column: &str| format!("CAST(COALESCE(SUM({column}), 0) AS BIGINT) AS {column}");
    let columns = ["entries", "entry_bytes", "files", "file_bytes", "events", "event_bytes"];
    format!("{} FROM {from}", columns.map(sum).join(", "))
}

#[derive(FromRow)]
struct OfApp {
    app_id: AppId,
    #[sqlx(flatten)]
    storage: Storage,
}

/// Returns the storage use of these apps, inside a transaction.
pub(super) async fn read(
    connection: &mut AnyConnection,
    dialect: Dialect,
    apps: impl Iterator<Item = &AppId>,
) -> Result<HashMap<AppId, Storage>> {
    let rows: Vec<_> = apps.map(|app_id| (app_id,)).collect();
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let from = format!("storage WHERE app_id IN (SELECT r.value->>0 FROM {})", dialect.rows());
    let query = format!("SELECT app_id, {} GROUP BY app_id", sums(&from));
    let found: Vec<OfApp> =
        sqlx::query_as(AssertSqlSafe(query)).bind(bulk::json(&rows)?).fetch_all(connection).await?;
    Ok(found.into_iter().map(|row| (row.app_id, row.storage)).collect())
}

impl Reads {
    /// Returns the storage use of an app.
    pub async fn find_storage(&self, app_id: &AppId) -> Result<Storage> {
        let query = format!("SELECT {}", sums("storage WHERE app_id = $1"));
        Ok(sqlx::query_as(AssertSqlSafe(query)).bind(app_id).fetch_one(self.reads()).await?)
    }
}

impl Store {
    /// Returns the storage use of all apps together.
    pub async fn sum_storage(&self) -> Result<Storage> {
        let query = format!("SELECT {}", sums("storage"));
        Ok(sqlx::query_as(AssertSqlSafe(query)).fetch_one(self.reads()).await?)
    }
}

impl Reads {
    /// Returns the storage limits of each app.
    #[must_use]
    pub fn storage_max(&self) -> Storage {
        self.inner.storage.most
    }
}

impl Store {
    /// Returns the number of writes this process has refused, per limit of [`Storage::NAMES`].
    #[must_use]
    pub fn storage_refusals(&self) -> [u64; 6] {
        std::array::from_fn(|which| self.inner.storage.refused[which].load(Ordering::Relaxed))
    }
}

impl Reads {
    /// Whether an app is near one of its limits, as of this process's last commit that could be
    /// refused.
    #[must_use]
    pub fn is_near_storage_max(&self, app_id: &AppId) -> bool {
        self.inner.storage.near.contains(app_id)
    }
}

/// The storage limits, and what this process knows about use. Cheap to clone.
#[derive(Clone)]
pub(super) struct StorageLimits {
    /// The storage limits of each app.
    pub(super) most: Storage,
    near: NearApps,
    /// The number of refusals per limit.
    refused: Arc<[AtomicU64; 6]>,
}

impl StorageLimits {
    pub(super) fn new(most: Storage) -> Self {
        Self { most, near: NearApps::default(), refused: Arc::default() }
    }

    /// Counts a refusal.
    pub(super) fn count(&self, full: StorageFull) -> StorageFull {
        let which = Storage::NAMES.iter().position(|limit| *limit == full.limit);
        if let Some(counter) = which.and_then(|which| self.refused.get(which)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        full
    }

    /// Records the current use of an app.
    pub(super) fn note(&self, app_id: &AppId, now: &Storage) {
        self.near.set(app_id, now.is_near(&self.most));
    }
}

/// The apps that are near a limit. Bounded by the number of apps that have written.
#[derive(Clone, Default)]
struct NearApps(Arc<RwLock<HashSet<AppId>>>);

impl NearApps {
    fn contains(&self, app_id: &AppId) -> bool {
        let near = self.0.read().unwrap_or_else(PoisonError::into_inner);
        near.contains(app_id)
    }

    fn set(&self, app_id: &AppId, is_near: bool) {
        if self.contains(app_id) == is_near {
            return;
        }
        let mut near = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if is_near {
            near.insert(app_id.clone());
        } else {
            near.remove(app_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_past_its_limit_is_refused_by_name_and_what_shrinks_is_not() {
        let most = Storage { entries: 10, entry_bytes: 100, ..Storage::DEFAULT_MAX };
        let used = Storage { entries: 9, entry_bytes: 200, ..Storage::default() };
        let grow = |entries, entry_bytes| Storage { entries, entry_bytes, ..Storage::default() };
        assert_eq!(used.check(&grow(1, 0), &most), Ok(()));
        assert_eq!(used.check(&grow(0, -1), &most), Ok(()));
        let full = StorageFull { limit: "app_entries", used: 11, most: 10 };
        assert_eq!(used.check(&grow(2, 0), &most), Err(full));
        let full = StorageFull { limit: "app_entry_bytes", used: 201, most: 100 };
        assert_eq!(used.check(&grow(1, 1), &most), Err(full));
    }

    #[test]
    fn an_app_is_near_a_limit_from_nine_tenths_on() {
        let most = Storage::DEFAULT_MAX;
        let at = |entries| Storage { entries, ..Storage::default() };
        assert!(!at(899_999).is_near(&most));
        assert!(at(900_000).is_near(&most));
    }
}
