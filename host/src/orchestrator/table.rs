//! The table of the newest definitions, read again when the store's revision moves.
//!
//! Invariant: a request never sees definitions older than the last change that was
//! answered before the request came.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use super::Orchestrator;
use super::matching::Table;
use crate::error::Error;
use crate::store::{self, Commit, Committed, End, Ending, Stamp};

/// How often a commit is made again because the definitions have changed meanwhile.
pub(super) const REMADE_MAX: u32 = 16;

/// The last table that was read.
#[derive(Default)]
pub(super) struct CurrentTable {
    /// The table and the revision it is at least as new as.
    current: RwLock<Option<(u64, Arc<Table>)>>,
    /// Held while the definitions are read, so that they are read once.
    reading: Mutex<()>,
}

impl CurrentTable {
    fn at_least(&self, revision: u64) -> Option<Arc<Table>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some((at, table)) if *at >= revision => Some(Arc::clone(table)),
            _ => None,
        }
    }
}

/// Logs each warning once.
fn warn_once(table: &Table, before: Option<&Table>) {
    let known = before.map(Table::warnings).unwrap_or_default();
    for warning in table.warnings().iter().filter(|warning| !known.contains(warning)) {
        tracing::warn!("{warning}");
    }
}

/// The error of a commit that was made again as often as it may be.
pub(super) fn definitions_move() -> Error {
    store::Error::Unavailable("the definitions change all the time".into()).into()
}

impl Orchestrator {
    /// The table as of now.
    ///
    /// # Errors
    /// From the store, when the definitions have to be read.
    pub(super) async fn table(&self) -> Result<Arc<Table>, store::Error> {
        let store = &self.parts.store;
        if store.definitions_are_old() {
            // A node that stood still, or was cut off: another may have closed a door.
            store.confirm_definitions().await?;
        }
        let revision = self.parts.store.revision();
        if let Some(table) = self.table.at_least(revision) {
            return Ok(table);
        }
        let _reading = self.table.reading.lock().await;
        if let Some(table) = self.table.at_least(revision) {
            return Ok(table);
        }
        let definitions = self.parts.store.definitions().await?;
        let read_at = definitions.revision;
        let table = Arc::new(Table::of(definitions));
        self.throttle.forget_all_but(&table);
        let mut current = self.table.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = current.replace((read_at, Arc::clone(&table)));
        warn_once(&table, before.as_ref().map(|(_, table)| &**table));
        Ok(table)
    }

    /// Commits what `make` makes of the table, and makes it again if the definitions have
    /// changed before the commit: a trigger hears of everything that is committed after it.
    ///
    /// # Errors
    /// From `make` and the store; `Unavailable` when the definitions never stand still.
    pub(super) async fn commit_with(
        &self,
        make: impl FnMut(&Table) -> Result<Commit, Error>,
    ) -> Result<Committed, Error> {
        Ok(self.commit_and_stamp_with(make).await?.0)
    }

    /// [`Orchestrator::commit_with`], and what is known of the last write.
    pub(super) async fn commit_and_stamp_with(
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
            match self.parts.store.commit_and_stamp(commit).await? {
                (Committed::Stale, _) => self.parts.store.definitions_are_stale(),
                committed => {
                    if committed.0 == Committed::Done
                        && let Some(kind) = buried
                    {
                        self.parts.metrics.buried(kind);
                    }
                    return Ok(committed);
                }
            }
        }
        Err(definitions_move())
    }
}
