//! The grouped writer: every change to the database passes through it.
//!
//! ```text
//!  submit ──▶ queue (bounded) ──▶ group: the pending writes, at most 256
//!                                   │ BEGIN
//!                                   │ each: SAVEPOINT, operation, RELEASE
//!                                   │         └─ failed ─▶ ROLLBACK TO: only it fails
//!                                   │ COMMIT
//!                                   ├─ committed ─▶ signals, then every result
//!                                   └─ failed ────▶ connection dropped,
//!                                                   `Unavailable` to every caller
//! ```
//!
//! Writes that arrive during a commit form the next group. Under load, writes share the cost of a
//! durable commit; a single write does not wait for others.
//!
//! Invariant: `Ok` is returned only after the COMMIT of the write.
//! Invariant: a connection is dropped after any failure outside of an operation. So a broken
//! transaction cannot affect the next group.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::any::AnyConnectOptions;
use sqlx::{Acquire, AnyConnection, Connection};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::dialect::Dialect;
use super::hot_entries::HotEntries;
use super::outage::Writes;
use super::revision::COUNT_CHANGE;
use super::signals::{Signals, Touches};
use super::{Error, Result};

/// The maximum number of operations in one commit.
const GROUP_MAX: usize = 256;
/// The maximum number of pending operations; beyond it `submit` waits.
const QUEUE_MAX: usize = 1024;
/// The maximum number of writers of a database, and so of numbers in a cursor. Further connections
/// share the last writer and wait for each other.
pub(super) const WRITERS_MAX: i64 = 64;
/// The timeout of a group, after which the server counts as lost.
const GROUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The session of this process's writer, whose notifications are ignored. 0 until it is connected.
pub(super) type OwnSession = Arc<AtomicI64>;

/// The number of the writer that this connection acts as; it numbers the executions that the
/// connection writes: [`super::executions`].
#[derive(Clone, Default)]
pub(super) struct WriterId(Arc<AtomicI64>);

impl WriterId {
    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes the lowest writer number that no other connection has. Two connections with the same
    /// number still number correctly, but wait for each other.
    async fn claim(&self, dialect: Dialect, connection: &mut AnyConnection) -> Result<()> {
        let free: Option<i64> = match dialect.claim_writer() {
            Some(query) => {
                sqlx::query_scalar(query).bind(WRITERS_MAX).fetch_optional(&mut *connection).await?
            }
            None => Some(1),
        };
        let id = free.unwrap_or(WRITERS_MAX);
        sqlx::query(
            "INSERT INTO writers (id, sequence) VALUES ($1, 0) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id)
        .execute(connection)
        .await?;
        self.0.store(id, Ordering::Relaxed);
        Ok(())
    }
}

/// Replaces the cached entries that an operation with this result has changed.
pub(super) type Renew<T> = fn(&T, &HotEntries);

/// The sending side of the writer; clones send to the same writer.
#[derive(Clone)]
pub(super) struct Writer {
    id: WriterId,
    queue: mpsc::Sender<Box<dyn Job>>,
    closing: Arc<Notify>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Writer {
    pub(super) fn start(connecting: Connecting, connection: AnyConnection, told: Told) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let closing = Arc::new(Notify::new());
        let id = connecting.session.writer.clone();
        let grouped = GroupedWriter { connecting, connection: Some(connection), told };
        let task = tokio::spawn(grouped.run(waiting, Arc::clone(&closing)));
        Self { id, queue, closing, task: Arc::new(Mutex::new(Some(task))) }
    }

    /// Returns the writer number of its connection, to read while an operation runs.
    pub(super) fn id(&self) -> WriterId {
        self.id.clone()
    }

    /// Runs `operation` in the next group and returns its result after the commit. `touches`
    /// derives the kind of change from the result. The operation also runs if the caller is
    /// dropped.
    pub(super) async fn submit<T, F, G>(&self, touches: G, operation: F) -> Result<T>
    where
        T: Send + 'static,
        G: Fn(&T) -> Touches + Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        self.submit_entries(touches, None, operation).await
    }

    /// Like [`Writer::submit`], for an operation that changes entries, which `renew` replaces in
    /// the cache.
    pub(super) async fn submit_entries<T, F, G>(
        &self,
        touches: G,
        renew: Option<Renew<T>>,
        operation: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        G: Fn(&T) -> Touches + Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Pending { touches, renew, operation: Some(operation), outcome: None, reply };
        let closed = || Error::unavailable("the store is closed");
        self.queue.send(Box::new(job)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Commits pending operations, closes the connection and refuses later operations.
    pub(super) async fn close(&self) {
        self.closing.notify_one();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the writer ended before it was closed");
        }
    }
}

/// An operation of a group, independent of its result type.
trait Job: Send {
    fn run<'c>(&'c mut self, connection: &'c mut AnyConnection) -> BoxFuture<'c, bool>;
    /// Returns its error, if it failed.
    fn error(&self) -> Option<&Error>;
    /// Returns what it changed, unless it failed.
    fn touched(&self) -> Option<Touches>;
    /// Replaces the cached entries that it changed, unless it failed.
    fn renew(&self, hot: &HotEntries);
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Pending<T, F, G> {
    touches: G,
    renew: Option<Renew<T>>,
    operation: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F, G> Job for Pending<T, F, G>
where
    T: Send,
    G: Fn(&T) -> Touches + Send,
    F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send,
{
    fn run<'c>(&'c mut self, connection: &'c mut AnyConnection) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            if let Some(operation) = self.operation.take() {
                self.outcome = Some(operation(connection).await);
            }
            matches!(self.outcome, Some(Ok(_)))
        })
    }

    fn error(&self) -> Option<&Error> {
        self.outcome.as_ref()?.as_ref().err()
    }

    fn touched(&self) -> Option<Touches> {
        self.outcome.as_ref()?.as_ref().ok().map(&self.touches)
    }

    fn renew(&self, hot: &HotEntries) {
        if let (Some(Ok(done)), Some(renew)) = (&self.outcome, self.renew) {
            renew(done, hot);
        }
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let answer = match (self.outcome, committed) {
            // It failed on its own, independently of the group.
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::unavailable("the write was not started")),
        };
        // The caller may have been dropped.
        let _ = self.reply.send(answer);
    }
}

/// The parameters of the writer's connection.
pub(super) struct Connecting {
    pub(super) dialect: Dialect,
    pub(super) options: AnyConnectOptions,
    /// The names of the connection's session.
    pub(super) session: Session,
}

struct GroupedWriter {
    connecting: Connecting,
    /// `None` after a failure, until the next group reconnects.
    connection: Option<AnyConnection>,
    told: Told,
}

/// The parts of the store that are told of each group.
pub(super) struct Told {
    pub(super) signals: Signals,
    pub(super) writes: Arc<Writes>,
    pub(super) hot: Option<Arc<HotEntries>>,
}

impl GroupedWriter {
    async fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>, closing: Arc<Notify>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        loop {
            tokio::select! {
                taken = waiting.recv_many(&mut group, GROUP_MAX) => if taken == 0 { break },
                () = closing.notified() => waiting.close(),
            }
            if !group.is_empty() {
                self.write(&mut group).await;
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the writer's connection did not close cleanly");
        }
    }

    async fn write(&mut self, group: &mut Vec<Box<dyn Job>>) {
        if let Some(hot) = &self.told.hot {
            hot.commit_begins();
        }
        let committed = match tokio::time::timeout(GROUP_TIMEOUT, self.commit(group)).await {
            Ok(committed) => committed,
            Err(_) => Err(Error::unavailable("a commit took too long")),
        };
        // SQLite can have ended the whole transaction when one operation found the disk full.
        let full =
            group.iter().find_map(|job| job.error().filter(|error| error.is_full())).cloned();
        let committed = committed.map_err(|error| match (full.clone(), error) {
            (Some(full), _) => full,
            (None, error) if error.is_outage() => error,
            (None, other) => Error::unavailable(other.to_string()),
        });
        match (&committed, &full) {
            (_, Some(error)) | (Err(error), None) => self.told.writes.failed(error),
            (Ok(()), None) => self.told.writes.committed(),
        }
        // Before the results: a caller that knows of a change must not read an old cache.
        if let Some(hot) = &self.told.hot {
            if committed.is_ok() {
                group.iter().for_each(|job| job.renew(hot));
            }
            hot.commit_ended(committed.is_ok());
        }
        if committed.is_ok() {
            touched(group).into_iter().for_each(|touched| self.told.signals.tell(touched));
        }
        for job in group.drain(..) {
            job.answer(committed.clone());
        }
    }

    async fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<()> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin_with(self.connecting.dialect.begin_write()).await?;
        for job in group.iter_mut() {
            let mut savepoint = transaction.begin().await?;
            if job.run(&mut savepoint).await {
                savepoint.commit().await?;
            } else {
                savepoint.rollback().await?;
            }
        }
        if touched(group).iter().any(|touched| touched.changes_definitions()) {
            sqlx::query(COUNT_CHANGE).execute(&mut *transaction).await?;
        }
        for tell in
            touched(group).into_iter().filter_map(|touched| self.connecting.dialect.tell(touched))
        {
            sqlx::query(tell).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        // Only if everything above succeeded; otherwise the connection is dropped.
        self.connection = Some(connection);
        Ok(())
    }

    /// Returns the last connection if it still works, or else a new one. So a restarted server does
    /// not cause a failed write.
    async fn connect(&mut self) -> Result<AnyConnection> {
        if let Some(mut connection) = self.connection.take()
            && connection.ping().await.is_ok()
        {
            return Ok(connection);
        }
        let Connecting { dialect, options, session } = &self.connecting;
        let mut connection = dialect.connect_writer(options).await?;
        session.begin(*dialect, &mut connection).await?;
        Ok(connection)
    }
}

/// Returns the kinds of changes of a group's operations.
fn touched(group: &[Box<dyn Job>]) -> BTreeSet<Touches> {
    group.iter().filter_map(|job| job.touched()).collect()
}

/// The names of the writer's connection.
#[derive(Clone, Default)]
pub(super) struct Session {
    /// Its number in the database, where the database numbers sessions.
    pub(super) own: OwnSession,
    writer: WriterId,
}

impl Session {
    /// Records the session number of a new connection, to recognise its own notifications, and
    /// claims a writer number.
    pub(super) async fn begin(
        &self,
        dialect: Dialect,
        connection: &mut AnyConnection,
    ) -> Result<()> {
        if let Some(query) = dialect.session_query() {
            let number: i64 = sqlx::query_scalar(query).fetch_one(&mut *connection).await?;
            self.own.store(number, Ordering::Relaxed);
        }
        self.writer.claim(dialect, connection).await
    }
}
