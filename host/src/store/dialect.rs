//! The only file that distinguishes SQLite from PostgreSQL: how to connect and set up each, the few
//! differences in SQL, and the error codes that mean "try later".

mod copy;
mod counters;
mod failure;
mod listen;
mod nodes;

pub use copy::Libpq;
pub(super) use copy::{
    BEGIN_EXPORT, COPY_INTO, COUNT_TABLES, EXPORT, connect_to_copy, settings_table,
};
pub(super) use failure::{is_contended, is_full, is_unavailable};
pub(super) use listen::{ANSWER_TIMEOUT, FIRST_ANSWER_TIMEOUT, Listener, Told};
pub use nodes::Node;
pub(super) use nodes::node;

use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Executor};

use super::{Error, Result};

/// The timeout for a connection to PostgreSQL, or for a free reader.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `synchronous=FULL` syncs the log at every commit, so an acknowledged write survives a power cut.
/// The caches (negative: KiB) are small because an idle host must stay small, and the operating
/// system caches the file anyway. After a burst the log file is truncated to 16 MiB.
///
/// `auto_vacuum` lets the space of deleted rows be returned to the disk. It only takes effect on a
/// database without tables, and must come before the choice of the log.
const SQLITE_WRITER: &str = "PRAGMA busy_timeout = 5000; PRAGMA auto_vacuum = INCREMENTAL; \
    PRAGMA journal_mode = WAL; \
    PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -2048; \
    PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY";
const SQLITE_READER: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA cache_size = -512";
/// The writer finds every row by a key. Statistics about a table that is empty one moment and full
/// the next are usually wrong, and made the planner read the whole outbox for each group of
/// commits. The last setting ends the transaction of a suspended or cut-off node, so that its locks
/// do not block other nodes.
const POSTGRES_WRITER: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off; SET idle_in_transaction_session_timeout = '5s'";
const POSTGRES_READER: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
/// Every list of the admin API has an index in its order, and these settings make the planner use
/// it (decision 30). It would prefer another index, or the whole table, when an app has most of the
/// rows, and errs when statistics are old. Lists are planned with the requested values, because a
/// plan for any limit reads everything. JIT is off: compiling takes longer than a page.
const POSTGRES_ADMIN_READER: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; \
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
    SET enable_bitmapscan = off; SET enable_sort = off; SET enable_incremental_sort = off; \
    SET plan_cache_mode = force_custom_plan; SET jit = off";

/// The location of the database: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`.
///
/// `Display` and `Debug` omit the password.
#[derive(Clone)]
pub struct DatabaseUrl {
    dialect: Dialect,
    options: AnyConnectOptions,
    /// The number of bytes of disk space reserved for deletions; 0 for no reserve.
    reserve_bytes: u64,
}

/// The URL names neither an SQLite file nor a PostgreSQL database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a database URL is sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME")]
pub struct DatabaseUrlError;

/// The kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// The purpose of a read connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Scripts, requests and events, which read by key.
    OfScripts,
    /// The admin API, which reads lists.
    OfAdmin,
}

impl DatabaseUrl {
    /// Returns the URL of the SQLite database in the file `path`, which can be relative to the
    /// current folder.
    pub fn sqlite_file(path: &Path) -> Result<Self, DatabaseUrlError> {
        let path = std::path::absolute(path).map_err(|_| DatabaseUrlError)?;
        let mut url = String::from("sqlite://");
        for &byte in path.as_os_str().as_bytes() {
            // All other bytes are escaped: sqlx would take '?' for parameters and '%' for an
            // escape.
            if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
                url.push(byte.into());
            } else {
                write!(url, "%{byte:02X}").map_err(|_| DatabaseUrlError)?;
            }
        }
        url.push_str("?mode=rwc");
        let options = url.parse().map_err(|_| DatabaseUrlError)?;
        Ok(Self { dialect: Dialect::Sqlite, options, reserve_bytes: 0 })
    }

    /// Sets the number of bytes reserved for deletions on the disk of a database file.
    #[must_use]
    pub fn with_reserve(self, reserve_bytes: u64) -> Self {
        Self { reserve_bytes, ..self }
    }

    /// Returns the number of reserved bytes; 0 for no reserve.
    pub(super) fn reserve_bytes(&self) -> u64 {
        self.reserve_bytes
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn connect_options(&self) -> AnyConnectOptions {
        self.options.clone()
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            // In memory every connection would have its own database. Parameters are refused
            // because PiCloud sets the pragmas itself.
            if path.is_empty() || path.contains(":memory:") || path.contains('?') {
                return Err(DatabaseUrlError);
            }
            return Self::sqlite_file(Path::new(path));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(DatabaseUrlError);
        }
        PgConnectOptions::from_str(text).map_err(|_| DatabaseUrlError)?;
        let options = text.parse().map_err(|_| DatabaseUrlError)?;
        Ok(Self { dialect: Dialect::Postgres, options, reserve_bytes: 0 })
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.options.database_url;
        match self.dialect {
            Dialect::Sqlite => write!(f, "sqlite:{}", url.path()),
            // Omits the parameters: one of them can be `password`.
            Dialect::Postgres => {
                write!(f, "postgres://{}@{}", url.username(), url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl Dialect {
    /// Refuses a database that cannot store every text.
    pub(super) async fn check_encoding(self, connection: &mut AnyConnection) -> Result<()> {
        if self == Self::Sqlite {
            return Ok(());
        }
        let encoding: String =
            sqlx::query_scalar("SHOW server_encoding").fetch_one(connection).await?;
        if encoding == "UTF8" {
            return Ok(());
        }
        let reason = format!(
            "its encoding is {encoding}, which cannot hold every text: use `createdb \
             --encoding UTF8 --template template0`"
        );
        Err(Error::Internal(std::sync::Arc::new(sqlx::Error::Configuration(reason.into()))))
    }

    /// Returns a query for whether this connection can write: a standby or a read-only database
    /// cannot.
    pub(super) fn writable_query(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT CASE WHEN current_setting('transaction_read_only') = 'on' \
                 THEN 0 ELSE 1 END",
            ),
        }
    }

    /// Connects the writer, the only connection of the process that can write.
    pub(super) async fn connect_writer(self, options: &AnyConnectOptions) -> Result<AnyConnection> {
        let connect = async {
            let mut connection = options.connect().await?;
            let set_up = match self {
                Self::Sqlite => SQLITE_WRITER,
                Self::Postgres => POSTGRES_WRITER,
            };
            connection.execute(set_up).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::unavailable("no connection to the database in time")),
        }
    }

    /// Returns a pool of connections that cannot write. It connects when first used and does no
    /// background work: no reaping, no minimum size.
    pub(super) fn read_pool(
        self,
        options: AnyConnectOptions,
        connections_max: u32,
        reader: Reader,
    ) -> AnyPool {
        let set_up = match (self, reader) {
            (Self::Sqlite, _) => SQLITE_READER,
            (Self::Postgres, Reader::OfScripts) => POSTGRES_READER,
            (Self::Postgres, Reader::OfAdmin) => POSTGRES_ADMIN_READER,
        };
        AnyPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(CONNECT_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // A server can have restarted since; a file is always there.
            .test_before_acquire(self == Self::Postgres)
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(set_up).await.map(drop) })
            })
            .connect_lazy_with(options)
    }

    /// Returns a query that makes this connection one of the writers 1 to `$1`, until it ends: the
    /// lowest number that no other connection has, or no row if all are taken. `None` for SQLite,
    /// which has one writer. The query takes an advisory lock of a class that nothing else uses.
    pub(super) fn claim_writer(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT CAST(n AS BIGINT) FROM generate_series(1, CAST($1 AS INTEGER)) AS n \
                 WHERE pg_try_advisory_lock(1885563761, n) LIMIT 1",
            ),
        }
    }

    /// Begins the writer's transaction. SQLite takes the write lock here, where waiting for it is
    /// safe: a transaction that has already read must not wait for it.
    pub(super) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Begins a transaction whose reads all see the same moment.
    pub(super) fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        }
    }

    /// Returns a FROM item `r` with one row for each element of the JSON array `$1`. Its column
    /// `value` holds the element, for `r.value->>0`.
    ///
    /// Both databases read the element in its binary form. As text it would be parsed again for
    /// every column, which made a row two to three times as expensive. The LIMIT keeps SQLite from
    /// flattening the subquery and computing `value` again for every column.
    pub(super) fn rows(self) -> &'static str {
        match self {
            Self::Sqlite => "(SELECT value FROM jsonb_each($1) LIMIT -1) AS r",
            Self::Postgres => "jsonb_array_elements(CAST($1 AS jsonb)) AS r(value)",
        }
    }

    /// Returns the database's time in microseconds since 1970. Leases and due times use it, because
    /// the clocks of the nodes can differ.
    pub(super) fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS BIGINT)",
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }

    /// Ends a SELECT and locks its rows of the table or alias `of` until the transaction ends.
    /// SQLite needs no lock: it has only one writer.
    pub(super) fn lock_rows(self, of: &str) -> String {
        match self {
            Self::Sqlite => String::new(),
            Self::Postgres => format!(" FOR UPDATE OF {of}"),
        }
    }

    /// Ends a SELECT and skips rows that another node has locked.
    pub(super) fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Compares texts by their bytes, on PostgreSQL regardless of the database's language.
    pub(super) fn by_bytes(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " COLLATE \"C\"",
        }
    }

    /// Returns statements that the shared migrations cannot express; they can run repeatedly.
    pub(super) fn after_migrations(self) -> Vec<String> {
        match self {
            Self::Sqlite => counters::sqlite(),
            Self::Postgres => {
                let mut statements = counters::postgres();
                // A row of the outbox lives only for milliseconds.
                statements.push(
                    "ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, \
                     autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0)"
                        .to_owned(),
                );
                statements.push(
                    "CREATE INDEX IF NOT EXISTS entries_by_bytes \
                     ON entries (app_id, space, collection, name COLLATE \"C\")"
                        .to_owned(),
                );
                statements
            }
        }
    }

    /// The database's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Returns a query for the database's version and its size in bytes.
    pub(super) fn facts(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT sqlite_version(), page_count * page_size \
                 FROM pragma_page_count(), pragma_page_size()"
            }
            Self::Postgres => {
                "SELECT current_setting('server_version'), pg_database_size(current_database())"
            }
        }
    }

    /// Returns an expression for the size of a table with its indexes, in bytes; NULL where
    /// [`Dialect::tree_sizes`] reports it.
    pub(super) fn size_of(self, table: &str) -> String {
        match self {
            Self::Sqlite => "CAST(NULL AS BIGINT)".to_owned(),
            Self::Postgres => format!("pg_total_relation_size('{table}')"),
        }
    }

    /// Returns a query for the table and the bytes of each page of the database. It reads every
    /// page: about 100 ms for 256 MiB in memory. `None` where [`Dialect::size_of`] reports the
    /// sizes.
    pub(super) fn tree_sizes(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => Some(
                "SELECT s.tbl_name, d.pgsize FROM sqlite_schema s \
                 JOIN dbstat d ON d.name = s.name WHERE d.aggregate = TRUE",
            ),
            Self::Postgres => None,
        }
    }

    /// Returns an expression that estimates the rows of a large table without reading them.
    /// PostgreSQL uses its statistics. SQLite uses the first and last row number, because new rows
    /// are numbered upwards.
    pub(super) fn estimated_rows(self, table: &str) -> String {
        match self {
            Self::Sqlite => {
                format!("(SELECT MAX(rowid) FROM {table}) - (SELECT MIN(rowid) FROM {table}) + 1")
            }
            Self::Postgres => format!(
                "(SELECT CAST(reltuples AS BIGINT) FROM pg_class \
                 WHERE oid = CAST('{table}' AS regclass))"
            ),
        }
    }

    /// Whether other processes can use the same database.
    pub(super) fn is_shared(self) -> bool {
        self == Self::Postgres
    }

    /// Returns a query for the size of the database in bytes.
    pub(super) fn size_query(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            }
            Self::Postgres => "SELECT pg_database_size(current_database())",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn number(connection: &mut AnyConnection, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
    }

    #[tokio::test]
    async fn the_pragmas_are_in_force() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite_file(&folder.path().join("picloud.db")).unwrap();
        let mut writer = url.dialect().connect_writer(&url.connect_options()).await.unwrap();
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut writer).await.unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(number(&mut writer, "PRAGMA synchronous").await, 2);
        assert_eq!(number(&mut writer, "PRAGMA foreign_keys").await, 1);
        assert_eq!(number(&mut writer, "PRAGMA busy_timeout").await, 5000);
        assert_eq!(number(&mut writer, "PRAGMA cache_size").await, -2048);
        assert_eq!(number(&mut writer, "PRAGMA temp_store").await, 2);
        writer.execute("CREATE TABLE t (a BIGINT)").await.unwrap();

        let readers = url.dialect().read_pool(url.connect_options(), 4, Reader::OfScripts);
        let mut reader = readers.acquire().await.unwrap();
        assert_eq!(number(&mut reader, "PRAGMA busy_timeout").await, 5000);
        assert_eq!(number(&mut reader, "PRAGMA cache_size").await, -512);
        assert!(reader.execute("INSERT INTO t VALUES (1)").await.is_err());
    }

    #[test]
    fn a_database_url_names_a_file_or_a_server() {
        for good in [
            "sqlite:a.db",
            "sqlite://a.db",
            "sqlite:///var/a.db",
            "postgres://u@h/d",
            "postgresql://h",
        ] {
            assert!(good.parse::<DatabaseUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
            "mysql://h/d",
            "postgres://h:x/d",
        ] {
            assert!(bad.parse::<DatabaseUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_database_url_does_not_show_its_password() {
        let url: DatabaseUrl = "postgres://u:secret@h:5433/d?password=secret".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://u@h:5433/d");
        assert_eq!(format!("{url:?}"), "DatabaseUrl(postgres://u@h:5433/d)");
        let url: DatabaseUrl = "sqlite:/var/lib/a.db".parse().unwrap();
        assert_eq!(url.to_string(), "sqlite:/var/lib/a.db");
    }
}
