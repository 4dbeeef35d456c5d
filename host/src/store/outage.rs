//! Tracks whether writes succeed, and handles a full disk of an SQLite database. `error.rs` and
//! `refusals.rs` decide the response to a request while the database is unavailable.
//!
//! ```text
//!  writing ──a group fails──▶ failing ──a group is committed──▶ writing
//!     │ ▲
//!     │ └── twice the reserve is free ── full ◀── the disk is full ── writing, failing
//!     └──────────────────────────────────▲
//! ```
//!
//! Deleting rows needs disk space too: SQLite first logs the changed pages. The reserve is a file
//! beside the database that occupies such space. When the disk is full, the reserve is removed and
//! writes of scripts are refused, so that the space is left for deletions.
//!
//! Invariant: an outage is logged once when it begins and once when it ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use sqlx::{AssertSqlSafe, Connection};
use tokio::time::{Instant, sleep};

use super::dialect::DatabaseUrl;
use super::signals::{Signals, Touches};
use super::{Error, Result, Store};

/// The suffix that turns the database's file name into that of the reserve.
const RESERVE_SUFFIX: &str = "-reserve";
/// The suffix of the reserve's name while it is being created.
const UNFINISHED_SUFFIX: &str = ".new";
/// How often a full disk is checked.
const LOOK: Duration = Duration::from_secs(2);
/// The minimum free space for a server to start, in bytes.
const START_BYTES: u64 = 4 << 20;

/// A write without a visible effect.
pub(super) const PROBE: &str = "INSERT INTO settings (name, value, updated_at) \
    VALUES ('write_probe', '', 0) ON CONFLICT (name) DO UPDATE SET updated_at = settings.updated_at + 1";

/// Disk space reserved for deletions.
#[derive(Debug, Clone)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// Returns the reserve of a database file, if one is configured.
    pub(super) fn of(url: &DatabaseUrl) -> Option<Self> {
        let bytes = Some(url.reserve_bytes()).filter(|bytes| *bytes > 0)?;
        Some(Self::beside(&url.file()?, bytes))
    }

    fn beside(database: &Path, bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(RESERVE_SUFFIX);
        Self { path: path.into(), bytes }
    }

    fn is_held(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|about| about.len() >= self.bytes)
    }

    /// Frees the reserved space.
    fn release(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Reserves the space if twice as much is free. With less, the next write would already fail.
    fn take(&self) -> io::Result<()> {
        if self.is_held() {
            return Ok(());
        }
        let mut unfinished = self.path.as_os_str().to_owned();
        unfinished.push(UNFINISHED_SUFFIX);
        let unfinished = PathBuf::from(unfinished);
        let taken = self.fill(&unfinished).and_then(|()| fs::rename(&unfinished, &self.path));
        if taken.is_err() {
            // Frees the space that was already allocated.
            let _ = fs::remove_file(&unfinished);
        }
        taken
    }

    fn fill(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        allocate(&file, self.bytes * 2)?;
        file.set_len(self.bytes)?;
        file.sync_all()
    }
}

/// Allocates disk space for a file, by writing if the file system cannot allocate.
fn allocate(mut file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            io::copy(&mut io::Read::take(io::repeat(0xA5), bytes), &mut file).map(drop)
        }
        allocated => Ok(allocated?),
    }
}

/// Releases the reserve of an SQLite database if a server could not start otherwise.
///
/// # Errors
/// If the file cannot be removed.
pub fn make_room_to_start(url: &DatabaseUrl) -> io::Result<()> {
    let Some(reserve) = Reserve::of(url) else { return Ok(()) };
    let Some(Ok(disk)) = reserve.path.parent().map(statvfs) else { return Ok(()) };
    if disk.f_bavail.saturating_mul(disk.f_frsize) >= START_BYTES {
        return Ok(());
    }
    reserve.release()
}

/// Selects the number of free pages of an SQLite file, and how it frees them.
const FREE_PAGES: &str = "SELECT freelist_count, auto_vacuum \
    FROM pragma_freelist_count(), pragma_auto_vacuum()";
/// The value of `auto_vacuum` with which free pages are released on request.
const INCREMENTAL: i64 = 2;
/// The number of free pages of 4 KiB kept for future rows.
const FREE_PAGES_KEPT: i64 = 1024;
/// The number of pages released by one write.
const FREED_PAGES: i64 = 2048;

#[derive(Debug, Clone, Copy)]
enum State {
    Writing,
    Failing(Instant),
    Full(Instant),
}

/// Whether writes succeed. Shared by all writers.
pub(super) struct Writes {
    state: Mutex<State>,
    reserve: Option<Reserve>,
    signals: Signals,
}

impl Writes {
    /// Creates the reserve if it is missing. If that fails, the disk counts as full from the start:
    /// a server that was killed on a full disk must not use up the space of its reserve.
    pub(super) fn start(reserve: Option<Reserve>, signals: Signals) -> Arc<Self> {
        let writes = Arc::new(Self { state: Mutex::new(State::Writing), reserve, signals });
        let taken = writes.reserve.as_ref().map_or(Ok(()), Reserve::take);
        if let Err(error) = taken {
            writes.fill(&Error::Full(error.to_string().into()));
        }
        writes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last write succeeded.
    pub(super) fn get_through(&self) -> bool {
        matches!(*self.state(), State::Writing)
    }

    /// Refuses writes that make the database grow while the disk is full.
    pub(super) fn check_room(&self) -> Result<()> {
        match *self.state() {
            State::Full(_) => Err(Error::Full("writes are refused until space is free".into())),
            State::Writing | State::Failing(_) => Ok(()),
        }
    }

    /// Records that a group of writes was committed.
    pub(super) fn committed(&self) {
        let mut state = self.state();
        if let State::Failing(since) = *state {
            tracing::info!(after_s = since.elapsed().as_secs(), "writes succeed again");
            *state = State::Writing;
        }
    }

    /// Records that a group of writes, or one write in it, failed because of the database.
    pub(super) fn failed(self: &Arc<Self>, error: &Error) {
        if matches!(error, Error::Full(_)) && self.reserve.is_some() {
            return self.fill(error);
        }
        let mut state = self.state();
        if matches!(*state, State::Writing) {
            tracing::warn!(%error, "writes fail; they are retried");
            *state = State::Failing(Instant::now());
        } else {
            tracing::debug!(%error, "a group of writes was not committed");
        }
    }

    fn fill(self: &Arc<Self>, error: &Error) {
        {
            let mut state = self.state();
            if matches!(*state, State::Full(_)) {
                return;
            }
            *state = State::Full(Instant::now());
        }
        let released = self.reserve.as_ref().map_or(Ok(()), Reserve::release);
        tracing::warn!(
            %error,
            needed_bytes = self.reserve.as_ref().map_or(0, |reserve| reserve.bytes * 2),
            "the disk of the database is full: scripts cannot write until twice \
             PICLOUD_DISK_RESERVE_BYTES of disk space is free. Free some space, or delete old \
             executions with `picloud logs purge`"
        );
        if let Err(error) = released {
            tracing::error!(%error, "the reserve could not be released");
        }
        tokio::spawn(Self::recover(Arc::downgrade(self)));
    }

    /// Checks for free space until there is enough, or until the store is dropped.
    async fn recover(writes: std::sync::Weak<Self>) {
        loop {
            sleep(LOOK).await;
            let Some(writes) = writes.upgrade() else { return };
            let Some(reserve) = writes.reserve.clone() else { return };
            let taken = tokio::task::spawn_blocking(move || reserve.take()).await;
            if !matches!(taken, Ok(Ok(()))) {
                continue;
            }
            let mut state = writes.state();
            if let State::Full(since) = *state {
                tracing::info!(after_s = since.elapsed().as_secs(), "the disk has space again");
            }
            *state = State::Writing;
            drop(state);
            // Events that were not claimed in the meantime.
            writes.signals.tell(Touches::Outbox);
            return;
        }
    }
}

impl Store {
    /// Returns some of the space of deleted rows in an SQLite file to the disk; `true` if more
    /// remains. A database of release 0.1 needs `picloud compact` first. PostgreSQL does this by
    /// itself.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn give_back_room(&self) -> Result<bool> {
        if self.is_shared() {
            return Ok(false);
        }
        let (free, can): (i64, i64) = sqlx::query_as(FREE_PAGES).fetch_one(self.reads()).await?;
        if can != INCREMENTAL || free <= FREE_PAGES_KEPT {
            return Ok(false);
        }
        let statement = format!("PRAGMA incremental_vacuum({FREED_PAGES})");
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                // The pragma works row by row, so all rows are fetched.
                sqlx::query(AssertSqlSafe(statement)).fetch_all(connection).await?;
                Ok(())
            })
        })
        .await?;
        Ok(free - FREED_PAGES > FREE_PAGES_KEPT)
    }

    /// Whether the database can return space to the disk.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn gives_back_room(&self) -> Result<bool> {
        if self.is_shared() {
            return Ok(true);
        }
        let (_, can): (i64, i64) = sqlx::query_as(FREE_PAGES).fetch_one(self.reads()).await?;
        Ok(can == INCREMENTAL)
    }
}

/// Rewrites an SQLite database without the space of deleted rows, so that it returns such space by
/// itself from then on. Needs as much free space as the database takes, and no running server.
///
/// # Errors
/// Errors of the database, which then stays unchanged.
pub async fn compact(url: &DatabaseUrl) -> Result<()> {
    sqlx::any::install_default_drivers();
    let mut connection = url.dialect().connect_writer(&url.connect_options()).await?;
    // In WAL mode the setting has no effect.
    for statement in [
        "PRAGMA journal_mode = DELETE",
        "PRAGMA auto_vacuum = INCREMENTAL",
        "VACUUM",
        "PRAGMA journal_mode = WAL",
    ] {
        sqlx::query(statement).fetch_all(&mut connection).await?;
    }
    Ok(connection.close().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_room_that_is_taken_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("picloud.db"), 1 << 20);
        assert!(!reserve.is_held());
        reserve.take().unwrap();
        assert!(reserve.is_held());
        let about = fs::metadata(folder.path().join("picloud.db-reserve")).unwrap();
        assert_eq!(about.len(), 1 << 20);
        assert!(std::os::unix::fs::MetadataExt::blocks(&about) * 512 >= 1 << 20);
        reserve.take().unwrap();
        reserve.release().unwrap();
        reserve.release().unwrap();
        assert!(!reserve.is_held());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_twice_the_room_nothing_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("picloud.db"), 1 << 60);
        assert!(reserve.take().is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
