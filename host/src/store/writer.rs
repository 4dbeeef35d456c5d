//! The one writer: every change to the database passes through it.
//!
//! ```text
//!  submit ──▶ queue (bounded) ──▶ group: what waits, at most 256
//!                                   │ BEGIN
//!                                   │ each: SAVEPOINT, operation, RELEASE
//!                                   │         └─ failed ─▶ ROLLBACK TO: it alone fails
//!                                   │ COMMIT
//!                                   ├─ committed ─▶ signals, then everyone's answer
//!                                   └─ failed ────▶ connection thrown away,
//!                                                   `Unavailable` to everyone
//! ```
//!
//! Writes that come while a group is committed form the next group, so under
//! load the cost of a durable commit is shared, and alone nobody waits for company.
//!
//! Invariant: an answer `Ok` comes after the COMMIT that it speaks of.
//! Invariant: a connection on which anything but an operation failed is never
//! used again; a half-broken transaction cannot leak into the next group.

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
use super::outage::Writes;
use super::revision::COUNT_CHANGE;
use super::signals::{Signals, Touches};
use super::{Error, Result};

/// How many operations one commit takes.
const GROUP_MAX: usize = 256;
/// How many operations may wait; beyond it `submit` waits.
const QUEUE_MAX: usize = 1024;
/// The most writers of a database, and so the most numbers of a cursor. Connections beyond
/// it share the last writer and wait for each other.
pub(super) const WRITERS_MAX: i64 = 64;
/// A group that takes longer has lost its server.
const GROUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The session of this process's writer: what it tells it knows already. 0 until there is
/// one.
pub(super) type OwnSession = Arc<AtomicI64>;

/// Which of the database's writers the connection is, as what it writes of the log of
/// executions is numbered: [`super::executions`].
#[derive(Clone, Default)]
pub(super) struct WriterId(Arc<AtomicI64>);

impl WriterId {
    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Becomes the first writer that no other connection is. The numbers stay right if two
    /// connections are the same writer, but then they wait for each other.
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

/// The sending side; clones send to the same writer.
#[derive(Clone)]
pub(super) struct Writer {
    id: WriterId,
    queue: mpsc::Sender<Box<dyn Job>>,
    closing: Arc<Notify>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Writer {
    pub(super) fn start(
        connecting: Connecting,
        connection: AnyConnection,
        signals: Signals,
        writes: Arc<Writes>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let closing = Arc::new(Notify::new());
        let id = connecting.session.writer.clone();
        let grouped = GroupedWriter { connecting, connection: Some(connection), signals, writes };
        let task = tokio::spawn(grouped.run(waiting, Arc::clone(&closing)));
        Self { id, queue, closing, task: Arc::new(Mutex::new(Some(task))) }
    }

    /// Which writer its connection is while an operation runs.
    pub(super) fn id(&self) -> WriterId {
        self.id.clone()
    }

    /// Runs `operation` in the next group and answers after its commit. What it came
    /// to tells what it `touches`. If the caller goes away, the operation is carried out
    /// all the same.
    pub(super) async fn submit<T, F, G>(&self, touches: G, operation: F) -> Result<T>
    where
        T: Send + 'static,
        G: Fn(&T) -> Touches + Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Pending { touches, operation: Some(operation), outcome: None, reply };
        let closed = || Error::unavailable("the store is closed");
        self.queue.send(Box::new(job)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Commits what waits, closes the connection and refuses what comes later.
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

/// One operation of a group, whatever its result's type.
trait Job: Send {
    fn run<'c>(&'c mut self, connection: &'c mut AnyConnection) -> BoxFuture<'c, bool>;
    /// Why it failed, if it did.
    fn error(&self) -> Option<&Error>;
    /// What it has changed, unless it failed.
    fn touched(&self) -> Option<Touches>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Pending<T, F, G> {
    touches: G,
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

    fn answer(self: Box<Self>, committed: Result<()>) {
        let answer = match (self.outcome, committed) {
            // It failed by itself, whatever became of the others.
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::unavailable("the write was not reached")),
        };
        // Nobody may be waiting any more.
        let _ = self.reply.send(answer);
    }
}

/// How the writer's connection is made.
pub(super) struct Connecting {
    pub(super) dialect: Dialect,
    pub(super) options: AnyConnectOptions,
    /// Of the connection, where the database names it.
    pub(super) session: Session,
}

struct GroupedWriter {
    connecting: Connecting,
    /// `None` after a failure, until the next group connects.
    connection: Option<AnyConnection>,
    signals: Signals,
    writes: Arc<Writes>,
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
        let committed = match tokio::time::timeout(GROUP_TIMEOUT, self.commit(group)).await {
            Ok(committed) => committed,
            Err(_) => Err(Error::unavailable("a commit took too long")),
        };
        // SQLite may have ended the whole transaction with the first that had no room.
        let full =
            group.iter().find_map(|job| job.error().filter(|error| error.is_full())).cloned();
        let committed = committed.map_err(|error| match (full.clone(), error) {
            (Some(full), _) => full,
            (None, error) if error.is_outage() => error,
            (None, other) => Error::unavailable(other.to_string()),
        });
        match (&committed, &full) {
            (_, Some(error)) | (Err(error), None) => self.writes.failed(error),
            (Ok(()), None) => self.writes.committed(),
        }
        // Before the answers: who knows of a change must not meet an old cache.
        if committed.is_ok() {
            touched(group).into_iter().for_each(|touched| self.signals.tell(touched));
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
        // Reached only if nothing above failed; otherwise it is dropped here.
        self.connection = Some(connection);
        Ok(())
    }

    /// The connection of the last group if it still lives, else a new one: a
    /// server that was restarted meanwhile costs nobody a failed write.
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

/// What the operations of a group have changed.
fn touched(group: &[Box<dyn Job>]) -> BTreeSet<Touches> {
    group.iter().filter_map(|job| job.touched()).collect()
}

/// What the writer's connection is called.
#[derive(Clone, Default)]
pub(super) struct Session {
    /// By the database, where it names connections.
    pub(super) own: OwnSession,
    writer: WriterId,
}

impl Session {
    /// Notes which session a new connection is, to know its own notifications again, and
    /// which writer.
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
