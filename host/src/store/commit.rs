//! The transaction that ends a run: the script's writes, the events they cause, the execution rows,
//! and the acknowledgement of the event that started the run.
//!
//! ```text
//!  commit ──▶ queue (bounded) ──▶ group: the pending commits, at most 256
//!                                    │ one operation of the grouped writer
//!                                    │   leases still held?      no ─▶ LeaseLost
//!                                    │   reads still current?    no ─▶ Conflict
//!                                    │   space in the app?       no ─▶ Full
//!                                    │   entries, events, executions, acknowledgements, audit
//!                                    │   of all remaining commits, one statement per table
//!                                    ▼
//!                                  every result, after the COMMIT
//! ```
//!
//! Within a group the runs count as sequential: a run conflicts if an earlier one wrote something
//! that it had read.
//!
//! Rows of runs without effects skip this and go through the [`recorder`].
//!
//! Invariant: no other code writes a script's effects.
//! Invariant: a commit that conflicts, or whose lease is lost, writes nothing.

mod apply;
mod recorder;
mod room;
mod validate;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::dialect::Dialect;
use super::entries::EntryName;
use super::hot_entries::{HotEntries, HotKey};
use super::outbox::{Handover, Reserved};
use super::signals::{Signals, Touches};
use super::storage::StorageLimits;
use super::writer::Writer;
use super::{
    AbandonedExecution, AppId, AuditEntry, DeadLetter, DeadLetterId, Entry, Error, Execution, Json,
    Lease, NewEvent, Operations, Resolution, Resource, Result, Space, StorageFull, Store,
};
use crate::faults::{self, Point};

pub(super) use recorder::Recorder;
pub(super) use room::check_events;

/// The maximum number of runs in a group.
const GROUP_MAX: usize = 256;
/// The maximum number of pending runs; beyond it `commit` waits.
const QUEUE_MAX: usize = 1024;

/// The maximum number of times a group is resubmitted because other nodes interfered.
const RESUBMITS_MAX: u32 = 8;

/// The results of a run.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The rows of the run and of those that it called.
    pub executions: Vec<Execution>,
    /// The entries and collections the run read.
    pub reads: Vec<Read>,
    /// The entries the run wrote, at most one for each name.
    pub writes: Vec<Write>,
    /// The events the run causes.
    pub events: Vec<Caused>,
    /// How the event that started the run ends.
    pub end: Option<Settlement>,
    /// Whether a full app refuses this commit. Commits that only end an event are not limited.
    pub is_limited: bool,
    /// The audit entry, if a person caused the run.
    pub audit: Option<Arc<AuditEntry>>,
    /// The revision of the definitions that `events` were derived from; `None` if they do not
    /// depend on definitions.
    pub definitions: Option<i64>,
    /// The current time, µs.
    pub at: i64,
}

impl Commit {
    /// Whether the commit deletes entries and adds only the events caused by that.
    pub(super) fn only_deletes(&self) -> bool {
        !self.writes.is_empty()
            && self.writes.iter().all(|write| write.value.is_none())
            && self.events.iter().all(|caused| caused.of_write.is_some())
    }
}

/// The name of a collection or a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionKey {
    /// The id of the app.
    pub app_id: AppId,
    /// Whether it holds keys or file paths.
    pub space: Space,
    /// The collection's name.
    pub name: String,
}

/// A read of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The collection.
    pub collection: CollectionKey,
    /// The name of the entry; `None` for a listing, which reads the whole collection.
    pub name: Option<String>,
    /// The version of the entry, or of the collection; 0 if it did not exist.
    pub version: i64,
    /// For a listing: when the first listed entry expires, µs. The listing is out of date from then
    /// on. `None` if no entry expires.
    pub until: Option<i64>,
}

/// A write of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The collection.
    pub collection: CollectionKey,
    /// The name of the entry.
    pub name: String,
    /// The new value; `None` deletes the entry.
    pub value: Option<Json>,
    /// When the entry expires, µs.
    pub expires_at: Option<i64>,
}

/// An event that a run causes.
#[derive(Debug, Clone)]
pub struct Caused {
    /// The event.
    pub event: NewEvent,
    /// For an event about a write: the index in [`Commit::writes`], and the operations wanted. Only
    /// the commit knows whether the entry existed before. It sets the event's operation, or drops
    /// the event.
    pub of_write: Option<(usize, Operations)>,
}

/// The end of the event that started a run.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The claim that is acknowledged.
    pub lease: Lease,
    /// How the event ends.
    pub disposition: Disposition,
    /// The dead letter that the event was about, and its resolution.
    pub resolves: Option<(DeadLetterId, Resolution)>,
    /// A response that was not delivered.
    pub abandoned: Option<AbandonedExecution>,
    /// The first response for the event's idempotency key.
    pub answer: Option<Json>,
}

/// How a run ends its event.
#[derive(Debug, Clone)]
pub enum Disposition {
    /// The event is done.
    Complete,
    /// The event is retried.
    Retry {
        /// The delay before the retry, in microseconds from now.
        delay_us: i64,
        /// The error of this attempt.
        error: String,
    },
    /// The event becomes a dead letter.
    Bury(Box<DeadLetter>),
}

/// The result of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The commit is on disk.
    Done,
    /// The data that the run read has changed since; nothing was written.
    Conflict,
    /// The definitions have changed since; nothing was written.
    Stale,
    /// The event was claimed by another process or no longer exists; nothing was written.
    LeaseLost,
    /// The app's storage is full; nothing was written.
    Full(StorageFull),
}

/// The version and time of the last write of a stored commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The version of the entry.
    pub version: i64,
    /// When it was written, µs.
    pub updated_at: i64,
}

/// The result of a commit, and its last write if there was one.
pub(super) type Outcome = (Committed, Option<Stamp>);

/// Accepts the commits of runs.
#[derive(Clone)]
pub(super) struct Committer {
    queue: mpsc::Sender<Waiting>,
}

struct Waiting {
    commit: Arc<Commit>,
    reply: oneshot::Sender<Result<Outcome>>,
}

impl Committer {
    pub(super) fn start(
        dialect: Dialect,
        writer: Writer,
        handover: Handover,
        signals: Signals,
        storage: StorageLimits,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        // The task ends when the store, and with it the sender, is dropped.
        tokio::spawn(Groups { dialect, writer, handover, signals, storage }.commit(waiting));
        Self { queue }
    }

    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        let closed = || Error::unavailable("the store is closed");
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { commit: Arc::new(commit), reply };
        self.queue.send(waiting).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

/// The result of a group of commits.
struct Applied {
    outcomes: Vec<Outcome>,
    /// Whether file contents were freed.
    frees_blobs: bool,
    /// The events that this process runs at once.
    taken: Option<Reserved>,
    /// Whether events can be claimed afterwards.
    is_to_claim: bool,
    /// The entries that were written or deleted.
    changed: Vec<(HotKey, Option<Arc<Entry>>)>,
}

impl Applied {
    fn renew(&self, hot: &HotEntries) {
        for (key, entry) in &self.changed {
            hot.changed(key, entry.as_ref());
        }
    }
}

struct Groups {
    dialect: Dialect,
    writer: Writer,
    handover: Handover,
    signals: Signals,
    storage: StorageLimits,
}

impl Groups {
    async fn commit(self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
            let commits = group.iter().map(|waiting| Arc::clone(&waiting.commit)).collect();
            match self.submit_until_done(commits).await {
                Ok(outcomes) => {
                    for (waiting, outcome) in group.drain(..).zip(outcomes) {
                        // The caller may have been dropped; the result is then not needed.
                        let _ = waiting.reply.send(Ok(outcome));
                    }
                }
                Err(error) if error.is_outage() => {
                    for waiting in group.drain(..) {
                        let _ = waiting.reply.send(Err(error.clone()));
                    }
                }
                // One commit was refused, for example because its app was deleted.
                Err(error) => {
                    tracing::debug!(%error, "a commit was refused; committing one by one");
                    for Waiting { commit, reply } in group.drain(..) {
                        let outcome = self.submit_until_done(vec![commit]).await;
                        let _ = reply.send(outcome.map(|outcomes| outcomes[0]));
                    }
                }
            }
        }
    }

    /// Submits a group, and resubmits it while the database rolls it back because of another node
    /// (at most [`RESUBMITS_MAX`] times).
    async fn submit_until_done(&self, commits: Vec<Arc<Commit>>) -> Result<Vec<Outcome>> {
        for _ in 0..RESUBMITS_MAX {
            match self.submit(commits.clone()).await {
                Err(Error::Contended(reason)) => {
                    tracing::debug!(%reason, "resubmitting a group of commits");
                }
                done => return done,
            }
        }
        self.submit(commits).await
    }

    async fn submit(&self, commits: Vec<Arc<Commit>>) -> Result<Vec<Outcome>> {
        let (dialect, writer) = (self.dialect, self.writer.id());
        let (handover, storage) = (self.handover.clone(), self.storage.clone());
        let touches = |applied: &Applied| match applied.is_to_claim {
            true => Touches::Outbox,
            false => Touches::Records,
        };
        let Applied { outcomes, taken, frees_blobs, .. } = self
            .writer
            .submit_entries(touches, Some(Applied::renew), move |connection| {
                Box::pin(async move {
                    let parts =
                        apply::Parts { handover: &handover, writer: &writer, storage: &storage };
                    apply::apply(connection, dialect, parts, &commits).await
                })
            })
            .await?;
        faults::point(Point::AfterCommit);
        if frees_blobs {
            self.signals.tell_freed();
        }
        if let Some(taken) = taken {
            taken.hand_over();
        }
        Ok(outcomes)
    }
}

impl Store {
    /// Ends a run. A store from [`Store::on_behalf`] also writes its audit entry.
    ///
    /// Errors: `Unavailable`; it is then unknown whether the commit was written. `NotFound(App)` if
    /// the app was deleted.
    pub async fn commit(&self, commit: Commit) -> Result<Committed> {
        Ok(self.commit_and_stamp(commit).await?.0)
    }

    /// Does the same as [`Store::commit`], and returns the stamp of the last write.
    ///
    /// Errors: as [`Store::commit`].
    pub async fn commit_and_stamp(&self, commit: Commit) -> Result<(Committed, Option<Stamp>)> {
        // Deletions of keys and files free space, so they are allowed while the disk is full.
        if !commit.executions.is_empty() || !commit.only_deletes() {
            self.check_room()?;
        }
        let audit = self.entry.clone().or_else(|| commit.audit.clone());
        // The only foreign row that a commit needs is its app.
        let committed = self.inner.committer.commit(Commit { audit, ..commit }).await;
        committed.map_err(|error| error.on_foreign_key(Resource::App))
    }

    /// Whether everything a run read is still current at one moment. A run without writes then
    /// counts as having run at that moment.
    pub async fn reads_are_current(&self, reads: &[Read], now: i64) -> Result<bool> {
        if self.are_cached(reads, now) {
            return Ok(true);
        }
        let dialect = self.inner.dialect;
        let mut connection = self.reads().acquire().await?;
        let mut snapshot =
            sqlx::Connection::begin_with(&mut *connection, dialect.begin_snapshot()).await?;
        let seen = validate::State::read(&mut snapshot, dialect, reads.iter(), &[], now).await?;
        snapshot.commit().await?;
        Ok(seen.agrees_with(reads))
    }

    /// Whether all reads are cached, and are current at one moment.
    fn are_cached(&self, reads: &[Read], now: i64) -> bool {
        let Some(hot) = &self.inner.hot else { return false };
        let is_current = |read: &Read| {
            let Some(name) = &read.name else { return false };
            let CollectionKey { app_id, space, name: collection } = &read.collection;
            let found = hot.get(&HotKey::of(app_id, EntryName { space: *space, collection, name }));
            found.is_some_and(|found| {
                let there = found.filter(|entry| entry.is_there_at(now));
                there.map_or(0, |entry| entry.version) == read.version
            })
        };
        hot.between_commits(|| reads.iter().all(is_current)).unwrap_or(false)
    }
}
