//! Removes the contents of deleted files from the data folder.
//!
//! Contents freed by a commit are removed a few minutes later, because a run that has read the
//! entry may still read them. Orphans, which no entry refers to, come from runs whose process ended
//! before the commit. They are removed when they are seen twice, a day apart, so that a wrong
//! database does not delete files at once.
//!
//! Invariant: only folders of apps that the database has or had are touched.
//! Invariant: a failure is only a warning; the next sweep tries again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use crate::blobs::{Blobs, Described};
use crate::clock::Clock;
use crate::store::{self, AppId, EntryRange, FreedBlob, Space, Store};

/// The number of rows read or deleted at once.
const BATCH_ROWS: i64 = 500;

/// The time that freed contents are kept, longer than the longest run.
const FREED_US: i64 = 2 * 60 * 1_000_000;

/// Younger contents may belong to a run that is not committed yet.
const ORPHAN_AGE_MIN_US: i64 = 3600 * 1_000_000;

/// The time that orphans are kept after they were first seen.
const ORPHAN_SEEN_US: i64 = 24 * 3600 * 1_000_000;

/// The wait after an error.
const RETRY: Duration = Duration::from_secs(60);

/// Removes the contents of deleted files. Cheap to clone.
#[derive(Clone)]
pub struct Sweep {
    store: Store,
    clock: Clock,
    blobs: Blobs,
    /// The time that freed contents are kept, in microseconds of the database's clock.
    pub freed_us: i64,
    /// The time that orphans are kept after they were first seen, in microseconds of the database's
    /// clock.
    pub orphan_seen_us: i64,
    /// The folders of unknown apps that were already logged.
    unknown: Arc<Mutex<BTreeSet<String>>>,
}

impl Sweep {
    /// Creates a sweep of `blobs` for the files of `store`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, blobs: Blobs) -> Self {
        Self {
            store,
            clock,
            blobs,
            freed_us: FREED_US,
            orphan_seen_us: ORPHAN_SEEN_US,
            unknown: Arc::default(),
        }
    }

    /// Removes freed contents when they are due. Never returns.
    pub async fn run(self) {
        let mut freed = self.store.watch_freed_blobs();
        loop {
            // Before looking, so that contents freed meanwhile wake the loop.
            freed.mark_unchanged();
            let next = match self.freed().await {
                Ok(next) => next,
                Err(error) => {
                    let what = "freed contents of files could not be removed";
                    error.tell(what);
                    Some(RETRY)
                }
            };
            match next {
                Some(next) => sleep(next).await,
                // The store outlives this task.
                None => drop(freed.changed().await),
            }
        }
    }

    /// Removes freed contents that are due. Returns the time until more are due; `None` if no
    /// contents are freed.
    ///
    /// # Errors
    /// Errors of the store. Contents that were already removed stay removed.
    pub async fn freed(&self) -> Result<Option<Duration>, store::Error> {
        loop {
            let freed = self.store.list_freed_blobs(self.freed_us, BATCH_ROWS).await?;
            if freed.is_empty() {
                let next = self.store.next_freed_blob_in(self.freed_us).await?;
                return Ok(next.map(|us| Duration::from_micros(us.unsigned_abs())));
            }
            let mut removed = Vec::with_capacity(freed.len());
            let mut by_app: BTreeMap<AppId, Vec<FreedBlob>> = BTreeMap::new();
            for blob in freed {
                by_app.entry(blob.app_id.clone()).or_default().push(blob);
            }
            for (app, freed) in by_app {
                let names = freed.iter().map(|freed| freed.blob.clone()).collect();
                match self.blobs.remove(app.as_str(), names).await {
                    Ok(_) => removed.extend(freed),
                    Err(error) => tracing::warn!(%error, %app, "files could not be removed"),
                }
            }
            if removed.is_empty() {
                return Ok(Some(RETRY));
            }
            self.store.forget_freed_blobs(removed).await?;
        }
    }

    /// Looks for orphans, and removes those that were first seen at least a day ago. Returns the
    /// number of removed contents.
    ///
    /// # Errors
    /// Errors of the store. Contents that were already removed stay removed.
    pub async fn orphans(&self) -> Result<u64, store::Error> {
        let apps = self.blobs.apps().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the folders of files could not be listed");
            Vec::new()
        });
        let mut removed = 0;
        for app in apps {
            let Ok(app_id) = app.parse::<AppId>() else { continue };
            if !self.store.knows_app(&app_id).await? {
                self.warn_of_unknown(app);
                continue;
            }
            removed += self.orphans_of(&app_id).await?;
        }
        Ok(removed)
    }

    async fn orphans_of(&self, app_id: &AppId) -> Result<u64, store::Error> {
        let app = app_id.as_str();
        let kept = self.described_blobs(app_id).await?;
        let made_before = self.clock.now_us() - ORPHAN_AGE_MIN_US;
        let seen = match self.blobs.orphans(app, kept, made_before).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%error, app, "files could not be swept");
                return Ok(0);
            }
        };
        let old = self.store.note_orphan_blobs(app_id, seen.clone(), self.orphan_seen_us).await?;
        let names = seen.into_iter().filter(|name| old.contains(name)).collect();
        match self.blobs.remove(app, names).await {
            Ok(removed) => Ok(removed),
            Err(error) => {
                tracing::warn!(%error, app, "files could not be swept");
                Ok(0)
            }
        }
    }

    fn warn_of_unknown(&self, app: String) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if !unknown.contains(&app) {
            tracing::warn!(app, "the data folder has files of an app that the database never had");
            unknown.insert(app);
        }
    }

    async fn described_blobs(&self, app_id: &AppId) -> Result<HashSet<Uuid>, store::Error> {
        let mut kept = HashSet::new();
        let mut buckets = 0;
        loop {
            let page = store::Page { limit: BATCH_ROWS, offset: buckets };
            let part = self.store.list_collections(app_id, Space::Files, page).await?;
            buckets += part.len() as i64;
            for bucket in &part {
                self.described_in(app_id, &bucket.name, &mut kept).await?;
            }
            if (part.len() as i64) < BATCH_ROWS {
                return Ok(kept);
            }
        }
    }

    async fn described_in(
        &self,
        app_id: &AppId,
        bucket: &str,
        kept: &mut HashSet<Uuid>,
    ) -> Result<(), store::Error> {
        let mut after: Option<String> = None;
        loop {
            let range = EntryRange { prefix: "", after: after.as_deref(), limit: BATCH_ROWS };
            let (store, space) = (&self.store, Space::Files);
            let part = store.list_entries_within(app_id, space, bucket, &range, 0, u64::MAX);
            let part = part.await?.unwrap_or_default();
            let described = part.iter().filter_map(|file| file.value.to::<Described>().ok());
            kept.extend(described.map(|described| described.blob));
            if (part.len() as i64) < BATCH_ROWS {
                return Ok(());
            }
            after = part.into_iter().next_back().map(|file| file.name);
        }
    }
}
