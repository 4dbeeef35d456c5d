//! All persistent data: one [`Store`] over SQLite (the default) or PostgreSQL.
//!
//! Reads use two small pools, one for scripts and one for the admin API, so that neither waits for
//! the other ([`Store::for_admin`]). Writes go through one grouped writer ([`writer`]); the rows of
//! finished runs go through a bounded buffer ([`commit`]). Each table family has its own file.
//!
//! Invariant: no other module contains SQL, and the store uses none of the modules above it. It
//! reads no clock and no randomness: times (`*_at`, microseconds since 1970) and ids come from the
//! caller.
//! Invariant: an idle store executes no statement.
//! Invariant: a write that returned `Ok` is on disk, except after [`Store::record`].

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
mod hot_entries;
mod ids;
mod listing;
mod members;
mod names;
mod outage;
mod outbox;
mod policies;
mod private_hosts;
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
pub use commit::{
    Caused, CollectionKey, Commit, Committed, Disposition, Read, Settlement, Stamp, Write,
};
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
    BY_AGE_SETTING, CursorError, Execution, ExecutionCursor, ExecutionFilter, ExecutionScope,
    Followed, LogSize,
};
pub use ids::{
    ApiKeyId, AppId, AuditId, DeadLetterId, EventId, ExecutionId, IdError, RouteId, ScriptId,
    TriggerId, UserId,
};
pub use listing::{COUNTED_MAX, LOOKED_AT_MAX, Listed, Part, Position, PositionError};
pub use members::Member;
pub use names::{
    AppRole, Backoff, Delivery, ExecutionStatus, InstanceRole, Operation, Resolution, Space,
    TriggerKind,
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

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::{AnyConnection, AnyPool};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use commit::{Committer, Recorder};
use definitions::Currency;
use dialect::{Dialect, FIRST_ANSWER_TIMEOUT, Listener, Reader};
use hearing::Ear;
use hot_entries::HotEntries;
use outage::{Reserve, Writes};
use outbox::Handover;
use signals::{Signals, Touches};
use storage::StorageLimits;
use writer::{Connecting, Session as WriterSession, Told, Writer};

type Result<T, E = Error> = std::result::Result<T, E>;

/// How long [`Store::ping`] waits for the database.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The options of a store.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The number of read connections of each pool.
    pub readers: Readers,
    /// The storage limits of each app.
    pub storage_max: Storage,
    /// The memory for recently read entries, in bytes. Used on SQLite only.
    pub entry_cache_bytes: u64,
    /// The minimum time between two flushes of buffered executions.
    pub log_flush_interval: Duration,
}

/// The default of [`Settings::entry_cache_bytes`].
pub const ENTRY_CACHE_BYTES: u64 = 16 << 20;

/// The default of [`Settings::log_flush_interval`], in milliseconds.
pub const LOG_FLUSH_MS: u64 = 1000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            readers: Readers::default(),
            storage_max: Storage::DEFAULT_MAX,
            entry_cache_bytes: ENTRY_CACHE_BYTES,
            log_flush_interval: Duration::from_millis(LOG_FLUSH_MS),
        }
    }
}

/// A part of a list. The store does not cap `limit`; the API does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The maximum number of rows.
    pub limit: i64,
    /// Number of rows to skip.
    pub offset: i64,
}

/// A reading of the database's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseTime {
    /// The instant of the reading.
    pub at: std::time::Instant,
    /// The time read, in microseconds since 1970.
    pub us: i64,
}

/// A handle to the database that only reads. The executor gets no other. Cheap to clone.
#[derive(Clone)]
pub struct Reads {
    inner: Arc<Inner>,
    /// Whether reads use the admin API's connections.
    is_admin: bool,
}

/// A handle to the database. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    reads: Reads,
    /// The audit entry written with each write; see [`Store::on_behalf`].
    entry: Option<Arc<AuditEntry>>,
}

impl Deref for Store {
    type Target = Reads;

    fn deref(&self) -> &Reads {
        &self.reads
    }
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
    /// Whether writes succeed.
    writes: Arc<Writes>,
    /// Whether the definitions read are the newest.
    currency: Currency,
    storage: StorageLimits,
    /// The last reading of the database's clock, and its instant.
    clock_seen: Mutex<Option<(Instant, i64)>>,
    /// Recently read entries; `None` if other processes can write to the database.
    hot: Option<Arc<HotEntries>>,
    _listening: Option<Listening>,
}

/// The task that listens for changes by other nodes; it ends with the store.
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// Opens the database with the default settings; see [`Store::open_with`].
    pub async fn open(url: &DatabaseUrl) -> Result<Self> {
        Self::open_with(url, Settings::default()).await
    }

    /// Opens the database. Creates a missing SQLite file (not its folder) and applies pending
    /// migrations.
    ///
    /// Must be called inside a tokio runtime, which then runs the writer.
    /// Errors: `Unavailable` if the database cannot be reached, `Schema` if a newer release has
    /// used it and this release must not, `Internal` if an applied migration has changed since.
    pub async fn open_with(url: &DatabaseUrl, settings: Settings) -> Result<Self> {
        let Settings { readers, storage_max, entry_cache_bytes, log_flush_interval } = settings;
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
            // The first look makes the database's time known from the start.
            let looked = ear.look(&mut listener, FIRST_ANSWER_TIMEOUT).await;
            looked.map_err(Error::unavailable)?;
            Some(Listening(tokio::spawn(ear.pass_on(listener))))
        } else {
            None
        };
        let writes = Writes::start(Reserve::of(url), signals.clone());
        let hot = (!dialect.is_shared()).then(|| Arc::new(HotEntries::new(entry_cache_bytes)));
        let writer = Writer::start(
            Connecting { dialect, options: options.clone(), session },
            connection,
            Told { signals: signals.clone(), writes: Arc::clone(&writes), hot: hot.clone() },
        );
        let handover = Handover::default();
        let storage = StorageLimits::new(storage_max);
        let reads = Reads {
            is_admin: false,
            inner: Arc::new(Inner {
                dialect,
                reads: dialect.read_pool(options.clone(), readers.scripts, Reader::OfScripts),
                admin_reads: dialect.read_pool(options, readers.admin, Reader::OfAdmin),
                recorder: Recorder::start(
                    dialect,
                    writer.clone(),
                    Arc::clone(&writes),
                    log_flush_interval,
                ),
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
                hot,
                _listening: listening,
            }),
        };
        Ok(Self { reads, entry: None })
    }

    /// Commits recorded rows, waits for pending writes, and closes every connection. Later calls
    /// return `Unavailable`.
    ///
    /// Errors: `Unavailable` if recorded rows could not be committed; they are lost.
    pub async fn close(&self) -> Result<()> {
        let recorded = self.inner.recorder.close().await;
        // Readers close first: the last SQLite connection folds the write-ahead log into the
        // database, and that must be the writer.
        self.inner.reads.close().await;
        self.inner.admin_reads.close().await;
        self.inner.writer.close().await;
        recorded
    }

    /// Returns `Ok` if the database answers within 2 seconds and accepts writes. After a failed
    /// write it tries another write.
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

    /// Returns `Ok` if the database answers within 2 seconds.
    pub async fn ping(&self) -> Result<()> {
        let query = sqlx::query("SELECT 1").execute(self.reads());
        match tokio::time::timeout(PING_TIMEOUT, query).await {
            Ok(answer) => answer.map(|_| ()).map_err(Error::from),
            Err(_) => Err(Error::unavailable("the database did not answer in time")),
        }
    }

    /// Refuses writes that make the database grow while its disk is full.
    ///
    /// Errors: `Full` while the disk is full.
    pub fn check_room(&self) -> Result<()> {
        self.inner.writes.check_room()
    }

    /// Returns the size of the database in bytes, as the database itself reports it.
    pub async fn size_bytes(&self) -> Result<i64> {
        Ok(sqlx::query_scalar(self.inner.dialect.size_query()).fetch_one(self.reads()).await?)
    }

    /// Returns a number that grows with every commit that changes an app, domain, script, route,
    /// trigger or secret. A cache filled at an older revision must be refilled.
    #[must_use]
    pub fn revision(&self) -> u64 {
        *self.inner.signals.revision.borrow()
    }

    /// Returns [`Store::revision`] as a channel, to wait for a change.
    #[must_use]
    pub fn watch_revision(&self) -> watch::Receiver<u64> {
        self.inner.signals.revision.subscribe()
    }

    /// Returns a channel that changes with every commit that can make an event claimable.
    #[must_use]
    pub fn watch_outbox(&self) -> watch::Receiver<u64> {
        self.inner.signals.outbox.subscribe()
    }

    /// Returns a channel that changes with every commit of this process that frees file contents.
    #[must_use]
    pub fn watch_freed_blobs(&self) -> watch::Receiver<u64> {
        self.inner.signals.freed.subscribe()
    }

    /// Returns a channel that changes with every commit that can leave clean-up work.
    #[must_use]
    pub fn watch_remains(&self) -> watch::Receiver<u64> {
        self.inner.signals.remains.subscribe()
    }

    /// Returns the time at which an event can become claimable on a shared database. The channel
    /// changes with every look at the database.
    #[must_use]
    pub fn watch_due_at(&self) -> watch::Receiver<Option<Instant>> {
        self.inner.signals.due_at.subscribe()
    }

    /// Returns the last reading of a shared database's clock. The channel changes with every look.
    #[must_use]
    pub fn watch_time(&self) -> watch::Receiver<Option<DatabaseTime>> {
        self.inner.signals.time.subscribe()
    }

    /// Returns whether other processes can use the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.dialect.is_shared()
    }

    /// Queues the row of a finished run. Returns once the buffer has space, usually at once. The
    /// row is committed within 25 ms plus the time of one commit; a crash before that loses it. A
    /// row whose id already exists changes nothing.
    ///
    /// Rows stay buffered while the database is unavailable. When the buffer is full, this waits; a
    /// caller that cannot wait must use a timeout.
    /// Errors: `Invalid` for a script name with NUL, `Unavailable` after `close`.
    pub async fn record(&self, row: Execution) -> Result<()> {
        self.inner.recorder.record(row).await
    }

    /// Waits until every row recorded before this call is committed.
    ///
    /// Errors: `Unavailable` if the commit failed; the rows stay buffered.
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
        // Additions would use up the disk space reserved for deletions.
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

/// Runs an operation and writes its audit entry in the same transaction.
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
