//! The one transaction that ends a run: what the script wrote, what that causes,
//! the rows of the executions, and the acknowledgement of the event that started it.
//!
//! ```text
//!  commit ──▶ queue (bounded) ──▶ group: what waits, at most 256
//!                                    │ one operation of the grouped writer
//!                                    │   leases still held?      no ─▶ LeaseLost
//!                                    │   reads still current?    no ─▶ Conflict
//!                                    │   room in the app?        no ─▶ Full
//!                                    │   entries, events, executions, acknowledgements, audit
//!                                    │   of all that are left, a statement per table
//!                                    ▼
//!                                  everyone's answer, after the COMMIT
//! ```
//!
//! Within a group the runs count as one after the other: what an earlier one wrote,
//! a later one must have read, or it is a conflict.
//!
//! Rows of runs without effects need none of this and take [`recorder`]'s way.
//!
//! Invariant: nothing else writes what a script wrote.
//! Invariant: of a run whose commit is a conflict, or whose lease is lost, nothing is
//! written at all.

mod apply;
mod recorder;
mod room;
mod validate;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::dialect::Dialect;
use super::outbox::{Handover, Reserved};
use super::signals::{Signals, Touches};
use super::storage::StorageLimits;
use super::writer::Writer;
use super::{
    AbandonedExecution, AppId, AuditEntry, DeadLetter, DeadLetterId, Error, Execution, Json, Lease,
    NewEvent, Operations, Resolution, Resource, Result, Space, StorageFull, Store,
};
use crate::faults::{self, Point};

pub(super) use recorder::Recorder;
pub(super) use room::check_events;

/// How many runs one group takes.
const GROUP_MAX: usize = 256;
/// How many may wait; beyond it `commit` waits.
const QUEUE_MAX: usize = 1024;

/// How often a group is submitted again because other nodes were in its way.
const RESUBMITS_MAX: u32 = 8;

/// Everything that a run leaves behind.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The rows of the run and of those that it called.
    pub executions: Vec<Execution>,
    /// What the run saw.
    pub reads: Vec<Read>,
    /// What it wrote, at most one for each name.
    pub writes: Vec<Write>,
    /// What that causes.
    pub events: Vec<Caused>,
    /// What becomes of the event that started it.
    pub end: Option<End>,
    /// Whether it is refused when the app's storage is full. What only ends work is not.
    pub is_limited: bool,
    /// Who has caused it by hand.
    pub audit: Option<Arc<AuditEntry>>,
    /// The revision of the definitions that `events` follow from; none if they do not depend
    /// on definitions.
    pub definitions: Option<i64>,
    /// Now, µs.
    pub at: i64,
}

impl Commit {
    /// Whether it deletes entries and adds nothing but what follows from that.
    pub(super) fn only_deletes(&self) -> bool {
        !self.writes.is_empty()
            && self.writes.iter().all(|write| write.value.is_none())
            && self.events.iter().all(|caused| caused.of_write.is_some())
    }
}

/// The name of a collection or a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionKey {
    /// The app.
    pub app_id: AppId,
    /// Keys or paths.
    pub space: Space,
    /// Its name.
    pub name: String,
}

/// What a run saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Where.
    pub collection: CollectionKey,
    /// The entry; none for a listing, which sees all of the collection.
    pub name: Option<String>,
    /// The version of the entry, or of the collection; 0 when there was none.
    pub version: i64,
    /// Of a listing, when the first of the entries that were seen expires, µs; from then on it is
    /// another one. None if nothing in it expires.
    pub until: Option<i64>,
}

/// What a run wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub collection: CollectionKey,
    /// The entry.
    pub name: String,
    /// Its new value; none deletes it.
    pub value: Option<Json>,
    /// When its time is up, µs.
    pub expires_at: Option<i64>,
}

/// An event that a run causes.
#[derive(Debug, Clone)]
pub struct Caused {
    /// The event.
    pub event: NewEvent,
    /// For an event about a write: which of [`Commit::writes`], and what must have
    /// happened. Only the commit knows whether there was an entry before; it puts the
    /// operation into the event, or leaves the event out.
    pub of_write: Option<(usize, Operations)>,
}

/// What becomes of the event that started a run.
#[derive(Debug, Clone)]
pub struct End {
    /// Which claim this speaks of.
    pub lease: Lease,
    /// What to do.
    pub ending: Ending,
    /// The dead letter that the event told of, and what has become of it.
    pub resolves: Option<(DeadLetterId, Resolution)>,
    /// An answer that nobody takes.
    pub abandoned: Option<AbandonedExecution>,
    /// The first answer to the event's idempotency key.
    pub answer: Option<Json>,
}

/// How a run leaves its event.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Done.
    Complete,
    /// To be tried again.
    Retry {
        /// Not before so many microseconds from now.
        delay_us: i64,
        /// Why.
        error: String,
    },
    /// Given up.
    Bury(Box<DeadLetter>),
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It is on disk.
    Done,
    /// What the run saw has changed since; nothing was written.
    Conflict,
    /// The definitions have changed since; nothing was written.
    Stale,
    /// The event is somebody else's, or gone; nothing was written.
    LeaseLost,
    /// The app may not keep as much; nothing was written.
    Full(StorageFull),
}

/// The last write of a commit that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The version of the entry.
    pub version: i64,
    /// When it was written, µs.
    pub updated_at: i64,
}

/// What a commit came to, and its last write if there was one.
pub(super) type Outcome = (Committed, Option<Stamp>);

/// Where runs are handed in.
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
        // It ends when the store and with it the sender is dropped.
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

/// What a group of commits came to.
struct Applied {
    outcomes: Vec<Outcome>,
    /// Whether contents of files were freed.
    frees_blobs: bool,
    /// The events that are to be carried out here at once.
    taken: Option<Reserved>,
    /// Whether there may be something to claim.
    is_to_claim: bool,
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
                        // Nobody may be waiting any more.
                        let _ = waiting.reply.send(Ok(outcome));
                    }
                }
                Err(error) if error.is_outage() => {
                    for waiting in group.drain(..) {
                        let _ = waiting.reply.send(Err(error.clone()));
                    }
                }
                // One of them was refused, for example because its app was deleted.
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

    /// Submits a group, and again while the database undoes it for the sake of another node (at
    /// most [`RESUBMITS_MAX`] times).
    async fn submit_until_done(&self, commits: Vec<Arc<Commit>>) -> Result<Vec<Outcome>> {
        for _ in 0..RESUBMITS_MAX {
            match self.submit(commits.clone()).await {
                Err(Error::Contended(reason)) => {
                    tracing::debug!(%reason, "a group of commits is made again");
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
            .submit(touches, move |connection| {
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
    /// Ends a run. Of [`Store::on_behalf`], with that entry of the audit log.
    ///
    /// Errors: `Unavailable`, when it is unknown whether it was written; `NotFound(App)`, when
    /// its app was deleted.
    pub async fn commit(&self, commit: Commit) -> Result<Committed> {
        Ok(self.commit_and_stamp(commit).await?.0)
    }

    /// [`Store::commit`], and what is known of its last write.
    ///
    /// Errors: as [`Store::commit`].
    pub async fn commit_and_stamp(&self, commit: Commit) -> Result<(Committed, Option<Stamp>)> {
        // Somebody who deletes keys and files makes room.
        if !commit.executions.is_empty() || !commit.only_deletes() {
            self.check_room()?;
        }
        let audit = self.entry.clone().or_else(|| commit.audit.clone());
        // The only row that a commit needs is that of its app.
        let committed = self.inner.committer.commit(Commit { audit, ..commit }).await;
        committed.map_err(|error| error.on_foreign_key(Resource::App))
    }

    /// Whether what a run saw is all still so, at one moment. A run that wrote
    /// nothing needs no more than that to count as having run at that moment.
    pub async fn reads_are_current(&self, reads: &[Read], now: i64) -> Result<bool> {
        let dialect = self.inner.dialect;
        let mut connection = self.reads().acquire().await?;
        let mut snapshot =
            sqlx::Connection::begin_with(&mut *connection, dialect.begin_snapshot()).await?;
        let seen = validate::State::read(&mut snapshot, dialect, reads.iter(), &[], now).await?;
        snapshot.commit().await?;
        Ok(seen.agrees_with(reads))
    }
}
