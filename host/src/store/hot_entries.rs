//! Recently read entries in memory, so that reading a key again needs no statement.
//!
//! Only where every write passes through this process: on SQLite. On PostgreSQL another node can
//! change an entry at any time, so there is no cache.
//!
//! ```text
//! read:   cached? ─▶ yes: done
//!                └─▶ no: note the generation ─▶ SELECT ─▶ keep, unless the generation has moved
//! write:  COMMIT ─▶ new values replace old ones, the generation moves ─▶ signals, results
//! ```
//!
//! Invariant: a cached entry is the newest committed one, except between a COMMIT and the first
//! signal or result that tells of it.
//! Invariant: after a COMMIT whose result is unknown nothing is cached until a later group has been
//! committed, which cannot happen before the unknown one has ended.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;

use super::entries::{Entry, EntryName};
use super::{AppId, Reads, Result, Space, text};

/// The number of generations; an entry's key selects one. More means that a write prevents fewer
/// reads of other keys from being kept.
const GENERATIONS: usize = 256;

/// The approximate memory of a cached entry besides its key and value, in bytes.
const ENTRY_BYTES: usize = 256;

/// An entry's key across apps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HotKey {
    pub(super) app_id: AppId,
    pub(super) space: Space,
    pub(super) collection: Box<str>,
    pub(super) name: Box<str>,
}

impl HotKey {
    pub(super) fn of(app_id: &AppId, entry: EntryName<'_>) -> Self {
        Self {
            app_id: app_id.clone(),
            space: entry.space,
            collection: entry.collection.into(),
            name: entry.name.into(),
        }
    }
}

/// The cached entries of a store.
pub(super) struct HotEntries {
    /// `None` for an entry that does not exist.
    cache: Cache<HotKey, Option<Arc<Entry>>>,
    generations: Box<[Mutex<u64>]>,
    hasher: RandomState,
    /// The number of COMMITs that have begun, plus that of those that have ended.
    commits: AtomicU64,
    /// Whether the result of a COMMIT is unknown.
    is_suspended: AtomicBool,
}

/// A read that may be kept.
#[derive(Clone, Copy)]
pub(super) struct Filling(u64);

impl HotEntries {
    /// Creates a cache of about `bytes_max` bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        let weigh = |key: &HotKey, entry: &Option<Arc<Entry>>| {
            let value = entry.as_ref().map_or(0, |entry| entry.value.as_str().len());
            let bytes = ENTRY_BYTES + key.collection.len() + 2 * key.name.len() + value;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            cache: Cache::builder().max_capacity(bytes_max).weigher(weigh).build(),
            generations: (0..GENERATIONS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            commits: AtomicU64::new(0),
            is_suspended: AtomicBool::new(false),
        }
    }

    /// Returns the cached entry; the outer `None` if it is not cached.
    pub(super) fn get(&self, key: &HotKey) -> Option<Option<Arc<Entry>>> {
        if self.is_suspended.load(Ordering::Acquire) {
            return None;
        }
        self.cache.get(key)
    }

    /// Begins a read of an entry that is not cached.
    pub(super) fn begin(&self, key: &HotKey) -> Filling {
        Filling(*self.generation(key))
    }

    /// Keeps an entry that was read, unless it may have been changed meanwhile.
    pub(super) fn keep(&self, filling: Filling, key: HotKey, entry: Option<Entry>) {
        let generation = self.generation(&key);
        if *generation == filling.0 && !self.is_suspended.load(Ordering::Acquire) {
            // Under the lock: a change waits, and then replaces the entry.
            self.cache.insert(key, entry.map(Arc::new));
        }
    }

    /// Must be called before each COMMIT.
    pub(super) fn commit_begins(&self) {
        self.commits.fetch_add(1, Ordering::AcqRel);
    }

    /// Replaces an entry that was changed; only cached entries are replaced. Must be called after
    /// the COMMIT, and before anybody is told of it.
    pub(super) fn changed(&self, key: &HotKey, entry: Option<&Arc<Entry>>) {
        let mut generation = self.generation(key);
        *generation += 1;
        if self.cache.contains_key(key) {
            self.cache.insert(key.clone(), entry.cloned());
        }
    }

    /// Must be called after each COMMIT, with whether it succeeded.
    pub(super) fn commit_ended(&self, is_committed: bool) {
        if !is_committed {
            self.is_suspended.store(true, Ordering::Release);
        }
        if self.is_suspended.load(Ordering::Acquire) {
            for generation in &self.generations {
                *generation.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
            self.cache.invalidate_all();
            // Last: until now nothing was kept that had been read before this commit.
            self.is_suspended.store(!is_committed, Ordering::Release);
        }
        self.commits.fetch_add(1, Ordering::AcqRel);
    }

    /// Runs `look` while no COMMIT is in progress. Returns its result; `None` if there was one.
    pub(super) fn between_commits<T>(&self, look: impl FnOnce() -> T) -> Option<T> {
        let before = self.commits.load(Ordering::Acquire);
        let seen = look();
        let is_quiet = before.is_multiple_of(2) && before == self.commits.load(Ordering::Acquire);
        is_quiet.then_some(seen)
    }

    fn generation(&self, key: &HotKey) -> MutexGuard<'_, u64> {
        let which = usize::try_from(self.hasher.hash_one(key) % GENERATIONS as u64).unwrap_or(0);
        self.generations[which].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reads {
    /// Returns the entry, if it exists at the time `now`, µs.
    pub async fn find_entry(
        &self,
        app_id: &AppId,
        entry: EntryName<'_>,
        now: i64,
    ) -> Result<Option<Entry>> {
        if text::check("name", entry.name, text::UNLIMITED).is_err() {
            return Ok(None);
        }
        let Some(hot) = &self.inner.hot else {
            return self.query_entry(app_id, entry, now).await;
        };
        let key = HotKey::of(app_id, entry);
        if let Some(cached) = hot.get(&key) {
            let there = cached.filter(|cached| cached.is_there_at(now));
            return Ok(there.map(|cached| (*cached).clone()));
        }
        let filling = hot.begin(&key);
        let found = self.query_entry(app_id, entry, now).await?;
        hot.keep(filling, key, found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Json;

    fn key(name: &str) -> HotKey {
        let entry = EntryName { space: Space::Kv, collection: "c", name };
        HotKey::of(&uuid::Uuid::nil().into(), entry)
    }

    fn entry(version: i64) -> Entry {
        Entry {
            name: "k".to_owned(),
            value: Json::from_text(version.to_string()),
            version,
            expires_at: None,
            updated_at: 0,
        }
    }

    fn version(hot: &HotEntries, name: &str) -> Option<i64> {
        hot.get(&key(name)).map(|found| found.map_or(0, |entry| entry.version))
    }

    fn fill(hot: &HotEntries, name: &str, read: i64, meanwhile: impl FnOnce()) {
        let filling = hot.begin(&key(name));
        meanwhile();
        hot.keep(filling, key(name), (read > 0).then(|| entry(read)));
    }

    fn commit(hot: &HotEntries, name: &str, version: i64) {
        hot.commit_begins();
        hot.changed(&key(name), (version > 0).then(|| Arc::new(entry(version))).as_ref());
        hot.commit_ended(true);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let hot = HotEntries::new(1 << 20);
        fill(&hot, "k", 1, || commit(&hot, "k", 2));
        assert_eq!(version(&hot, "k"), None);
        fill(&hot, "k", 2, || {});
        assert_eq!(version(&hot, "k"), Some(2));
        fill(&hot, "gone", 0, || {});
        assert_eq!(version(&hot, "gone"), Some(0));
    }

    #[test]
    fn a_change_replaces_what_is_cached() {
        let hot = HotEntries::new(1 << 20);
        fill(&hot, "k", 1, || {});
        commit(&hot, "k", 2);
        assert_eq!(version(&hot, "k"), Some(2));
        commit(&hot, "k", 0);
        assert_eq!(version(&hot, "k"), Some(0));
        commit(&hot, "other", 3);
        assert_eq!(version(&hot, "other"), None, "not read yet");
    }

    #[test]
    fn after_an_unknown_commit_nothing_is_cached_until_the_next_one() {
        let hot = HotEntries::new(1 << 20);
        fill(&hot, "k", 1, || {});
        hot.commit_begins();
        hot.commit_ended(false);
        fill(&hot, "k", 1, || {});
        assert_eq!(version(&hot, "k"), None);
        // The unknown commit may have written the entry before this one began.
        fill(&hot, "k", 1, || commit(&hot, "other", 2));
        assert_eq!(version(&hot, "k"), None);
        fill(&hot, "k", 9, || {});
        assert_eq!(version(&hot, "k"), Some(9));
    }

    #[test]
    fn a_look_during_a_commit_sees_no_single_state() {
        let hot = HotEntries::new(1 << 20);
        assert_eq!(hot.between_commits(|| 7), Some(7));
        assert_eq!(hot.between_commits(|| commit(&hot, "k", 2)), None);
        hot.commit_begins();
        assert_eq!(hot.between_commits(|| 7), None);
        hot.commit_ended(true);
        assert_eq!(hot.between_commits(|| 7), Some(7));
    }

    #[test]
    fn the_memory_is_limited() {
        let hot = HotEntries::new(10_000);
        for n in 0..1000 {
            fill(&hot, &n.to_string(), 1, || {});
        }
        hot.cache.run_pending_tasks();
        assert!(hot.cache.weighted_size() <= 10_000, "{}", hot.cache.weighted_size());
    }
}
