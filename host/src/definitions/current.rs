//! The table of the newest definitions. Reads them again when the store's revision grows.
//!
//! Invariant: a request sees every change that was answered before the request arrived.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use super::matching::Table;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::store::{self, Commit, Committed, Disposition, Settlement, Stamp, Store};

/// The maximum number of times a commit is prepared because the definitions changed meanwhile.
pub const REMADE_MAX: u32 = 16;

/// The newest definitions, shared by every task that matches requests or events.
pub struct Current {
    store: Store,
    metrics: Metrics,
    /// The table, and the newest revision that it is known to include.
    last: RwLock<Option<(u64, Arc<Table>)>>,
    /// Held while the definitions are read, so that concurrent callers read them once.
    reading: Mutex<()>,
}

/// Logs each warning once.
fn warn_once(table: &Table, before: Option<&Table>) {
    let known = before.map(Table::warnings).unwrap_or_default();
    for warning in table.warnings().iter().filter(|warning| !known.contains(warning)) {
        tracing::warn!("{warning}");
    }
}

/// Returns the error of a commit that was prepared [`REMADE_MAX`] times.
#[must_use]
pub fn definitions_move() -> Error {
    store::Error::Unavailable("the definitions changed during every attempt".into()).into()
}

impl Current {
    /// Creates the table without reading anything yet.
    #[must_use]
    pub fn new(store: Store, metrics: Metrics) -> Self {
        Self { store, metrics, last: RwLock::default(), reading: Mutex::default() }
    }

    fn at_least(&self, revision: u64) -> Option<Arc<Table>> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, table)) if *at >= revision => Some(Arc::clone(table)),
            _ => None,
        }
    }

    /// Returns the last table, no matter how old it is; `None` before the first one is read.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Table>> {
        self.at_least(0)
    }

    /// Returns the current table.
    ///
    /// # Errors
    /// Errors of the store if the definitions must be read.
    pub async fn table(&self) -> Result<Arc<Table>, store::Error> {
        let store = &self.store;
        if store.definitions_are_old() {
            // This node was paused or disconnected: another one may have restricted access.
            store.confirm_definitions().await?;
        }
        let revision = store.revision();
        if let Some(table) = self.at_least(revision) {
            return Ok(table);
        }
        let _reading = self.reading.lock().await;
        if let Some(table) = self.at_least(revision) {
            return Ok(table);
        }
        let definitions = store.definitions().await?;
        let read_at = definitions.revision;
        let table = Arc::new(Table::of(definitions));
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace((read_at, Arc::clone(&table)));
        warn_once(&table, before.as_ref().map(|(_, table)| &**table));
        Ok(table)
    }

    /// Commits the result of `make`. Calls `make` again if the definitions changed before the
    /// commit, so that a trigger fires for every commit after its creation.
    ///
    /// # Errors
    /// Errors of `make` and the store. `Unavailable` after [`REMADE_MAX`] attempts.
    pub async fn commit(
        &self,
        mut make: impl FnMut(&Table) -> Result<Commit, Error>,
    ) -> Result<(Committed, Option<Stamp>), Error> {
        for _ in 0..REMADE_MAX {
            let table = self.table().await?;
            let commit = Commit { definitions: Some(table.revision()), ..make(&table)? };
            let buried = match &commit.end {
                Some(Settlement { disposition: Disposition::Bury(letter), .. }) => {
                    Some(letter.kind.as_str())
                }
                _ => None,
            };
            match self.store.commit_and_stamp(commit).await? {
                (Committed::Stale, _) => self.store.definitions_are_stale(),
                committed => {
                    if committed.0 == Committed::Done
                        && let Some(kind) = buried
                    {
                        self.metrics.buried(kind);
                    }
                    return Ok(committed);
                }
            }
        }
        Err(definitions_move())
    }
}
