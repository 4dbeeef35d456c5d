//! Everything that is kept: one [`Store`] over SQLite (the default) or PostgreSQL.
//!
//! All reads go through two small pools, one for scripts and one for the admin API, so that
//! neither waits for the other ([`Store::for_admin`]). All writes go through one grouped writer
//! ([`writer`]), and the rows of finished runs through a bounded buffer
//! ([`commit`]). The functions are spread over one file per table family.
//!
//! Invariant: no other module writes SQL, and this one uses none of the modules
//! above it. It reads no clock and no randomness: times (`*_at`, microseconds since
//! 1970) and ids come from the caller.
//! Invariant: an idle store executes no statement.
//! Invariant: what `Ok` was answered for is on disk, except [`Store::record`].

mod abandoned;
mod api_keys;
mod app_secrets;
mod apps;
mod audit;
mod blobs;
mod bulk;
mod clock;
mod commit;
mod dead_letters;
mod definitions;
mod dialect;
mod domains;
mod entries;
mod error;
mod excerpt;
mod executions;
mod hearing;
mod ids;
mod listing;
mod members;
mod names;
mod outage;
mod outbound;
mod outbox;
mod policies;
mod readers;
mod refusals;
mod remains;
mod reserved_hosts;
mod revision;
mod routes;
mod samples;
mod schema;
mod scripts;
mod secrets;
mod sessions;
mod settings;
mod signals;
mod snapshot;
mod statistics;
mod storage;
mod text;
mod triggers;
mod users;
mod writer;

pub use abandoned::AbandonedExecution;
pub use api_keys::{ApiKey, ApiKeyScope};
pub use app_secrets::AppSecret;
pub use apps::{App, AppChange, NewApp};
pub use audit::{AuditEntry, AuditFilter};
pub use blobs::FreedBlob;
pub use commit::{Caused, CollectionKey, Commit, Committed, End, Ending, Read, Stamp, Write};
pub use dead_letters::{DeadLetter, DeadLetterFilter};
pub use definitions::{
    AppIngress, DEFINITIONS_AGE_MAX, Definitions, DomainDefinition, RouteDefinition,
    ScriptDefinition,
};
pub use dialect::{DatabaseUrl, DatabaseUrlError, Libpq, Node};
pub use domains::{DOMAINS_MAX, Domain, NewClaim};
pub use entries::{Collection, Entry, EntryName, EntryRange};
pub use error::{Conflict, Error, Resource, SameRoute, StorageFull};
pub use excerpt::{EXCERPT_BYTES_MAX, Excerpt};
pub use executions::{
    CursorError, Execution, ExecutionCursor, ExecutionFilter, ExecutionScope, Followed,
};
pub use ids::{
    ApiKeyId, AppId, AuditId, DeadLetterId, EventId, ExecutionId, IdError, RouteId, ScriptId,
    TriggerId, UserId,
};
pub use listing::{COUNTED_MAX, LOOKED_AT_MAX, Listed, Part, Position, PositionError};
pub use members::Member;
pub use names::{
    AppRole, Backoff, Delivery, ExecutionStatus, InstanceRole, Operation, Resolution, Space,
    TriggerKind, UnknownName,
};
pub use outage::{compact, make_room_to_start};
pub use outbox::{
    Accepted, Backlog, Claim, Claimed, Event, EventFilter, Lease, NO_END, NewEvent, NewKey, Offer,
    Place, Places, Taken,
};
pub use policies::{
    Cors, CustomSignature, Endpoints, HmacAuth, IngressPolicy, RateBy, RateLimit, RouteAuth,
    RoutePolicy, SignatureAlgorithm, SignatureEncoding, SignaturePreset,
};
pub use readers::Readers;
pub use routes::{Route, RouteChange};
pub use samples::{Captured, LastExecution, RunCount, Sample};
pub use scripts::{
    NewScript, NewSource, Script, ScriptChange, ScriptLimits, ScriptSource, ScriptVersion,
};
pub use secrets::{Secret, SecretFacts};
pub use sessions::Session;
pub use snapshot::{Snapshot, StoredFile};
pub use statistics::{AppDeadLetters, DatabaseFacts, OutboxFacts, TableFacts};
pub use storage::Storage;
pub use text::Json;
pub use triggers::{
    Fired, Firing, Moving, NoOperation, Operations, Registrant, RetryOverrides, Trigger,
    TriggerChange, TriggerDetail,
};
pub use users::{NewInvitation, User, UserChange};

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::{AnyConnection, AnyPool};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use commit::{Committer, Recorder};
use definitions::Currency;
use dialect::{Dialect, Listener, Reader};
use hearing::Ear;
use outage::{Reserve, Writes};
use outbox::Handover;
use signals::{Signals, Touches};
use storage::StorageLimits;
use writer::{Connecting, Session as WriterSession, Writer};

type Result<T, E = Error> = std::result::Result<T, E>;

/// How long [`Store::ping`] waits for the database.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// What can be chosen of a store.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many connections read at once.
    pub readers: Readers,
    /// The storage limits of each app.
    pub storage_max: Storage,
}

impl Default for Settings {
    fn default() -> Self {
        Self { readers: Readers::default(), storage_max: Storage::DEFAULT_MAX }
    }
}

/// A part of a list. The store does not cap `limit`; the API does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// At most so many rows.
    pub limit: i64,
    /// Number of rows to skip.
    pub offset: i64,
}

/// What the database's clock showed at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseTime {
    /// When it was read.
    pub at: std::time::Instant,
    /// What it showed, in microseconds since 1970.
    pub us: i64,
}

/// The database. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// What is noted beside each write; see [`Store::on_behalf`].
    entry: Option<Arc<AuditEntry>>,
    /// Whether it reads by the admin API's connections.
    is_admin: bool,
}

struct Inner {
    dialect: Dialect,
    reads: AnyPool,
    admin_reads: AnyPool,
    writer: Writer,
    recorder: Recorder,
    committer: Committer,
    handover: Handover,
    signals: Signals,
    /// Whether writes get through.
    writes: Arc<Writes>,
    /// Whether the definitions that were read are the newest.
    currency: Currency,
    storage: StorageLimits,
    /// What the database's clock showed last, and when.
    clock_seen: Mutex<Option<(Instant, i64)>>,
    _listening: Option<Listening>,
}

/// The task that hears of other nodes; it ends with the store.
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// [`Store::open_with`] the default settings.
    pub async fn open(url: &DatabaseUrl) -> Result<Self> {
        Self::open_with(url, Settings::default()).await
    }

    /// Opens the database, creating the SQLite file (not its folder) if it is
    /// missing, and applies the migrations that it lacks.
    ///
    /// Must be called inside a tokio runtime, which then runs the writer.
    /// Errors: `Unavailable` if the database cannot be reached, `Schema` if a newer
    /// release has used it and this one must not, `Internal` if a migration that it has
    /// was changed since.
    pub async fn open_with(url: &DatabaseUrl, settings: Settings) -> Result<Self> {
        let Settings { readers, storage_max } = settings;
        sqlx::any::install_default_drivers();
        let dialect = url.dialect();
        let options = url.connect_options();

        let mut connection = dialect.connect_writer(&options).await?;
        dialect.check_encoding(&mut connection).await?;
        schema::migrate(&mut connection, dialect).await?;

        let (signals, session) = (Signals::default(), WriterSession::default());
        let currency = Currency::default();
        session.begin(dialect, &mut connection).await?;
        let listening = if dialect.is_shared() {
            let mut listener = Listener::connect(&options).await?;
            let ear = Ear {
                options: options.clone(),
                own_session: session.own.clone(),
                signals: signals.clone(),
                currency: currency.clone(),
            };
            // So that the time is known from the start.
            ear.look(&mut listener).await.map_err(Error::unavailable)?;
            Some(Listening(tokio::spawn(ear.pass_on(listener))))
        } else {
            None
        };
        let writes = Writes::start(Reserve::of(url), signals.clone());
        let writer = Writer::start(
            Connecting { dialect, options: options.clone(), session },
            connection,
            signals.clone(),
            Arc::clone(&writes),
        );
        let handover = Handover::default();
        let storage = StorageLimits::new(storage_max);
        Ok(Self {
            entry: None,
            is_admin: false,
            inner: Arc::new(Inner {
                dialect,
                reads: dialect.read_pool(options.clone(), readers.scripts, Reader::OfScripts),
                admin_reads: dialect.read_pool(options, readers.admin, Reader::OfAdmin),
                recorder: Recorder::start(dialect, writer.clone(), Arc::clone(&writes)),
                committer: Committer::start(
                    dialect,
                    writer.clone(),
                    handover.clone(),
                    signals.clone(),
                    storage.clone(),
                ),
                storage,
                handover,
                writer,
                signals,
                writes,
                currency,
                clock_seen: Mutex::default(),
                _listening: listening,
            }),
        })
    }

    /// Commits what was recorded, waits for the writes under way, and closes
    /// every connection. Later calls answer `Unavailable`.
    ///
    /// Errors: `Unavailable` if recorded rows could not be committed; they are lost.
    pub async fn close(&self) -> Result<()> {
        let recorded = self.inner.recorder.close().await;
        // The readers first: SQLite's last connection folds the write-ahead log
        // into the database, and that is the writer's to do.
        self.inner.reads.close().await;
        self.inner.admin_reads.close().await;
        self.inner.writer.close().await;
        recorded
    }

    /// `Ok` if the database answers within 2 seconds, and takes writes. After one that failed,
    /// another is made.
    pub async fn ping_writes(&self) -> Result<()> {
        self.check_room()?;
        self.ping().await?;
        if !self.inner.writes.get_through() {
            let probe = self.write(Touches::Records, |connection| {
                Box::pin(async move {
                    sqlx::query(outage::PROBE).execute(connection).await?;
                    Ok(())
                })
            });
            match tokio::time::timeout(PING_TIMEOUT, probe).await {
                Ok(written) => written?,
                Err(_) => return Err(Error::unavailable("the database did not write in time")),
            }
        }
        let Some(query) = self.inner.dialect.writable_query() else { return Ok(()) };
        let asked = self.write(Touches::Records, move |connection| {
            Box::pin(
                async move { Ok(sqlx::query_scalar::<_, i32>(query).fetch_one(connection).await?) },
            )
        });
        match tokio::time::timeout(PING_TIMEOUT, asked).await {
            Ok(Ok(1)) => Ok(()),
            Ok(Ok(_)) => Err(Error::unavailable("the database is read only")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::unavailable("the database did not answer in time")),
        }
    }

    /// `Ok` if the database answers within 2 seconds.
    pub async fn ping(&self) -> Result<()> {
        let query = sqlx::query("SELECT 1").execute(self.reads());
        match tokio::time::timeout(PING_TIMEOUT, query).await {
            Ok(answer) => answer.map(|_| ()).map_err(Error::from),
            Err(_) => Err(Error::unavailable("the database did not answer in time")),
        }
    }

    /// Refuses what makes the database grow while its disk is full.
    ///
    /// Errors: `Full`.
    pub fn check_room(&self) -> Result<()> {
        self.inner.writes.check_room()
    }

    /// The size of the database in bytes, as the database itself counts it.
    pub async fn size_bytes(&self) -> Result<i64> {
        Ok(sqlx::query_scalar(self.inner.dialect.size_query()).fetch_one(self.reads()).await?)
    }

    /// Grows with every commit that changed an app, a domain, a script, a
    /// route, a trigger or a secret. A cache that was filled at an older revision must be filled again.
    #[must_use]
    pub fn revision(&self) -> u64 {
        *self.inner.signals.revision.borrow()
    }

    /// [`Store::revision`] as a channel, to wait for a change.
    #[must_use]
    pub fn watch_revision(&self) -> watch::Receiver<u64> {
        self.inner.signals.revision.subscribe()
    }

    /// Changes with every commit after which there may be something to claim.
    #[must_use]
    pub fn watch_outbox(&self) -> watch::Receiver<u64> {
        self.inner.signals.outbox.subscribe()
    }

    /// Changes with every commit of this process that frees contents of files.
    #[must_use]
    pub fn watch_freed_blobs(&self) -> watch::Receiver<u64> {
        self.inner.signals.freed.subscribe()
    }

    /// Changes with every commit that may leave work behind that is done in parts.
    #[must_use]
    pub fn watch_remains(&self) -> watch::Receiver<u64> {
        self.inner.signals.remains.subscribe()
    }

    /// When there may be something to claim on a database that others use too; changes with
    /// every look at it.
    #[must_use]
    pub fn watch_due_at(&self) -> watch::Receiver<Option<Instant>> {
        self.inner.signals.due_at.subscribe()
    }

    /// What the clock of a database that others use too showed at the last look; changes with
    /// every look.
    #[must_use]
    pub fn watch_time(&self) -> watch::Receiver<Option<DatabaseTime>> {
        self.inner.signals.time.subscribe()
    }

    /// Whether other processes may use the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.dialect.is_shared()
    }

    /// Hands over the row of a finished run and returns as soon as the buffer
    /// has room, usually at once. The row is committed within 25 ms and the time
    /// of a commit; a crash before that loses it. A row whose id is already
    /// there changes nothing.
    ///
    /// While the database is unavailable rows are kept; once the buffer is full
    /// this waits, so a caller who cannot wait puts a timeout around it.
    /// Errors: `Invalid` for a script name with NUL, `Unavailable` after `close`.
    pub async fn record(&self, row: Execution) -> Result<()> {
        self.inner.recorder.record(row).await
    }

    /// Waits until every row recorded before this call is committed.
    ///
    /// Errors: `Unavailable` if that was tried and failed; the rows are kept.
    pub async fn flush(&self) -> Result<()> {
        self.inner.recorder.flush().await
    }

    /// Runs `operation` in the next commit group; see [`writer`].
    async fn write<T, F>(&self, touches: Touches, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        let Some(entry) = self.entry.clone() else {
            return self.inner.writer.submit(move |_| touches, operation).await;
        };
        // What people add would use up the room that is kept for tidying up.
        if !entry.is_done_without_room() {
            self.check_room()?;
        }
        self.inner
            .writer
            .submit(
                move |_| touches,
                move |connection: &mut AnyConnection| {
                    write_with_entry(connection, operation, entry)
                },
            )
            .await
    }
}

/// Runs an operation, and notes in the same transaction who had it done.
fn write_with_entry<'c, T, F>(
    connection: &'c mut AnyConnection,
    operation: F,
    entry: Arc<AuditEntry>,
) -> BoxFuture<'c, Result<T>>
where
    T: Send + 'static,
    F: for<'o> FnOnce(&'o mut AnyConnection) -> BoxFuture<'o, Result<T>> + Send + 'static,
{
    Box::pin(async move {
        let done = operation(connection).await?;
        audit::append(connection, &entry).await?;
        Ok(done)
    })
}
