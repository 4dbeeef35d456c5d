//! Buffers the rows of runs without effects: their callers get a response at once, and the rows are
//! written a moment later, many with one statement.
//!
//! ```text
//!  record ──space?─▶ buffer ──first row──▶ gather ─────────▶ one block per app, and rows
//!            │         ▲                   (or 256 KiB,        │
//!            └─ waits ─┘                    flush, close)      ├─ committed ─▶ space freed
//!                                                              ├─ unavailable ─▶ kept, retried
//!                                                              └─ refused ─▶ one by one; a bad
//!                                                                            row: logged, dropped
//! ```
//!
//! A row after a quiet time is written 25 ms later. Under load, at most one write per second
//! (`PICLOUD_EXECUTION_LOG_FLUSH_MS`) takes all rows of that time, so that a disk is not worn out.
//!
//! Invariant: the buffer holds at most [`BUFFER_BYTES_MAX`], including rows being committed. When
//! it is full, `record` waits.
//! Invariant: a killed process loses at most the rows of the last gathering and of the pending
//! commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::store::dialect::Dialect;
use crate::store::executions::blocks::{self, Small};
use crate::store::executions::{self, Encoded, Execution};
use crate::store::outage::Writes;
use crate::store::signals::Touches;
use crate::store::writer::Writer;
use crate::store::{Error, Json, Result, text};

/// How long the first row waits for more rows, if the last write is long ago.
const GATHER: Duration = Duration::from_millis(25);
/// A buffer of this size is written without waiting for more rows.
const GATHER_BYTES: usize = 256 * 1024;
/// The maximum number of rows in one statement, so that other writes get their turn.
const STATEMENT_ROWS_MAX: usize = 1000;
/// The maximum size of all rows in memory.
const BUFFER_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// The approximate size of a row without its JSON columns.
const ROW_BYTES: usize = 512;
/// The wait after a failure, doubled each time up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Accepts the rows of finished runs. Dropping it without `close` loses the same rows as a crash.
pub(in crate::store) struct Recorder {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    /// Free bytes of the buffer.
    room: Semaphore,
    buffer: Mutex<Buffer>,
    /// Signals that the buffer is no longer empty.
    arrived: Notify,
    /// Ends gathering and the wait before a retry.
    hurry: Notify,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct Buffer {
    rows: Vec<Execution>,
    bytes: usize,
    /// The number of rows ever recorded.
    recorded: u64,
    /// Whether the buffer refuses rows, because the last flush has begun.
    closed: bool,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    /// The number of settled rows: committed, or refused and dropped.
    settled: u64,
    /// The number of times the database was unavailable.
    failures: u64,
}

impl Recorder {
    /// Starts the buffer. Writes are at least `interval` apart, unless much is buffered.
    pub(in crate::store) fn start(
        dialect: Dialect,
        writer: Writer,
        writes: Arc<Writes>,
        interval: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            room: Semaphore::new(BUFFER_BYTES_MAX as usize),
            buffer: Mutex::default(),
            arrived: Notify::new(),
            hurry: Notify::new(),
            progress: watch::channel(Progress::default()).0,
        });
        let insert = BulkInsert { writer, writes, dialect, small: Small::default() };
        let task = tokio::spawn(Arc::clone(&shared).run(insert, interval));
        Self { shared, task }
    }

    pub(in crate::store) async fn record(&self, row: Execution) -> Result<()> {
        text::check("script_name", &row.script_name, text::UNLIMITED)?;
        let bytes = weight(&row);
        let room = self.shared.room.acquire_many(bytes).await.map_err(|_| closed())?;
        // The permits are returned when the row is settled.
        room.forget();

        let mut buffer = self.shared.buffer();
        if buffer.closed {
            return Err(closed());
        }
        buffer.rows.push(row);
        buffer.bytes += bytes as usize;
        buffer.recorded += 1;
        let (first, enough) = (buffer.rows.len() == 1, buffer.bytes >= GATHER_BYTES);
        drop(buffer);
        if first {
            self.shared.arrived.notify_one();
        }
        if enough {
            self.shared.hurry.notify_one();
        }
        Ok(())
    }

    pub(in crate::store) async fn flush(&self) -> Result<()> {
        let recorded = self.shared.buffer().recorded;
        let mut progress = self.shared.progress.subscribe();
        let failures = progress.borrow().failures;
        let settled = |now: &Progress| now.settled >= recorded || now.failures > failures;
        if progress.borrow().settled < recorded {
            self.shared.hurry.notify_one();
        }
        let now = *progress.wait_for(settled).await.map_err(|_| closed())?;
        if now.settled >= recorded {
            Ok(())
        } else {
            Err(Error::unavailable("recorded executions wait for the database"))
        }
    }

    pub(in crate::store) async fn close(&self) -> Result<()> {
        self.shared.room.close();
        self.shared.buffer().closed = true;
        let flushed = self.flush().await;
        self.task.abort();
        if flushed.is_err() {
            let lost = self.shared.buffer().recorded - self.shared.progress.borrow().settled;
            tracing::error!(rows = lost, "executions were not logged: the database is unavailable");
        }
        flushed
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn closed() -> Error {
    Error::unavailable("the store is closed")
}

/// Returns a row's size in the buffer. A row larger than the buffer takes all of it.
fn weight(row: &Execution) -> u32 {
    let optional = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
    let bytes = ROW_BYTES
        + row.script_name.len()
        + row.request.as_str().len()
        + row.log.as_str().len()
        + optional(&row.response)
        + optional(&row.error);
    u32::try_from(bytes).unwrap_or(u32::MAX).min(BUFFER_BYTES_MAX)
}

fn weights(rows: &[Execution]) -> usize {
    rows.iter().map(|row| weight(row) as usize).sum()
}

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, insert: BulkInsert, interval: Duration) {
        let mut last_write: Option<Instant> = None;
        loop {
            self.arrived.notified().await;
            let since = last_write.map(|at| at.elapsed());
            let gather = since.map_or(GATHER, |since| interval.saturating_sub(since).max(GATHER));
            tokio::select! {
                () = sleep(gather) => {}
                () = self.hurry.notified() => {}
            }
            let mut rows = {
                let mut buffer = self.buffer();
                buffer.bytes = 0;
                std::mem::take(&mut buffer.rows)
            };
            last_write = Some(Instant::now());
            while !rows.is_empty() {
                let rest = rows.split_off(rows.len().min(STATEMENT_ROWS_MAX));
                self.settle(rows, &insert).await;
                rows = rest;
            }
        }
    }

    /// Writes the rows, and retries while the database is unavailable.
    async fn settle(&self, mut rows: Vec<Execution>, insert: &BulkInsert) {
        let (mut retry, mut has_failed) = (RETRY_MIN, false);
        while !rows.is_empty() {
            let (count, bytes) = (rows.len(), weights(&rows));
            rows = insert.write(rows, has_failed).await;
            has_failed = true;
            self.room.add_permits(bytes - weights(&rows));
            self.progress.send_modify(|progress| {
                progress.settled += (count - rows.len()) as u64;
                progress.failures += u64::from(!rows.is_empty());
            });
            if !rows.is_empty() {
                tokio::select! {
                    () = sleep(retry) => {}
                    () = self.hurry.notified() => {}
                }
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

struct BulkInsert {
    writer: Writer,
    writes: Arc<Writes>,
    dialect: Dialect,
    small: Small,
}

impl BulkInsert {
    /// Inserts the rows and returns those to retry later. After a failure, rows can be stored
    /// already: the answer to a COMMIT can be lost.
    async fn write(&self, rows: Vec<Execution>, after_failure: bool) -> Vec<Execution> {
        match self.insert(&rows, after_failure).await {
            Ok(()) => return Vec::new(),
            Err(error) if error.is_outage() => return rows,
            Err(error) => tracing::debug!(%error, "a row was refused; inserting them one by one"),
        }
        let each = rows.iter().map(|row| self.insert(std::slice::from_ref(row), after_failure));
        let outcomes = join_all(each).await;
        let kept = rows.into_iter().zip(outcomes).filter_map(|(row, outcome)| match outcome {
            Ok(()) => None,
            Err(error) if error.is_outage() => Some(row),
            Err(error) => {
                let (execution, script) = (&row.id, &row.script_id);
                tracing::warn!(%error, %execution, %script, "an execution was not logged");
                None
            }
        });
        kept.collect()
    }

    async fn insert(&self, rows: &[Execution], after_failure: bool) -> Result<()> {
        self.writes.check_room()?;
        let rows = if after_failure { self.without_stored(rows).await? } else { rows.to_vec() };
        if rows.is_empty() {
            return Ok(());
        }
        let rows = Encoded::in_blocks(&rows)?;
        let to_merge = self.small.count(rows.blocks());
        let (dialect, writer) = (self.dialect, self.writer.id());
        self.writer
            .submit(
                |()| Touches::Records,
                move |connection| {
                    Box::pin(async move {
                        executions::insert(connection, dialect, &writer, &rows).await?;
                        for app_id in &to_merge {
                            blocks::merge(connection, dialect, writer.get(), app_id).await?;
                        }
                        Ok(())
                    })
                },
            )
            .await
    }

    /// Returns the rows that are not stored yet.
    async fn without_stored(&self, rows: &[Execution]) -> Result<Vec<Execution>> {
        let (dialect, asked) = (self.dialect, rows.to_vec());
        let look = self.writer.submit(
            |_| Touches::Records,
            move |connection| {
                Box::pin(async move { blocks::exists(connection, dialect, &asked).await })
            },
        );
        let stored = look.await?;
        Ok(rows.iter().filter(|row| !stored.contains(&row.id)).cloned().collect())
    }
}
