//! The table of the newest definitions, read again when the store's revision moves.
//!
//! Invariant: a request never sees definitions older than the last change that was
//! answered before the request came.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use super::matching::Table;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::store::{self, Commit, Committed, End, Ending, Stamp, Store};

/// How often a commit is made again because the definitions have changed meanwhile.
pub const REMADE_MAX: u32 = 16;

/// The newest definitions. Shared by all that match requests and events.
pub struct Current {
    store: Store,
    metrics: Metrics,
    /// The table and the revision it is at least as new as.
    last: RwLock<Option<(u64, Arc<Table>)>>,
    /// Held while the definitions are read, so that they are read once.
    reading: Mutex<()>,
}

/// Logs each warning once.
fn warn_once(table: &Table, before: Option<&Table>) {
    let known = before.map(Table::warnings).unwrap_or_default();
    for warning in table.warnings().iter().filter(|warning| !known.contains(warning)) {
        tracing::warn!("{warning}");
    }
}

/// The error of a commit that was made again as often as it may be.
#[must_use]
pub fn definitions_move() -> Error {
    store::Error::Unavailable("the definitions change all the time".into()).into()
}

impl Current {
    /// Nothing is read yet.
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

    /// The table as of now.
    ///
    /// # Errors
    /// From the store, when the definitions have to be read.
    pub async fn table(&self) -> Result<Arc<Table>, store::Error> {
        let store = &self.store;
        if store.definitions_are_old() {
            // A node that stood still, or was cut off: another may have closed a door.
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

    /// Commits what `make` makes of the table, and makes it again if the definitions have
    /// changed before the commit: a trigger hears of everything that is committed after it.
    ///
    /// # Errors
    /// From `make` and the store; `Unavailable` when the definitions never stand still.
    pub async fn commit(
        &self,
        mut make: impl FnMut(&Table) -> Result<Commit, Error>,
    ) -> Result<(Committed, Option<Stamp>), Error> {
        for _ in 0..REMADE_MAX {
            let table = self.table().await?;
            let commit = Commit { definitions: Some(table.revision()), ..make(&table)? };
            let buried = match &commit.end {
                Some(End { ending: Ending::Bury(letter), .. }) => Some(letter.kind.as_str()),
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
