//! How far a connection is, so that one that does not go on can be told from one that
//! waits for a script.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::ConnectionLimits;

/// The head of a request is coming.
const HEAD: u64 = 0;
/// A request is being answered.
const BUSY: u64 = 1;
/// The last answer is there, and is being sent or has been read.
const IDLE: u64 = 2;

/// Where a connection stands, and since when.
pub(super) struct Progress {
    opened: Instant,
    header_timeout: Duration,
    idle_timeout: Duration,
    /// Milliseconds since it was opened, times four, and one of the three above.
    state: AtomicU64,
}

impl Progress {
    pub(super) fn new(limits: &ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            header_timeout: Duration::from_millis(limits.header_timeout_ms),
            idle_timeout: Duration::from_millis(limits.idle_timeout_ms),
            state: AtomicU64::new(HEAD),
        })
    }

    /// A request's head is there.
    pub(super) fn begin(&self) {
        self.set(BUSY);
    }

    /// Its answer is made.
    pub(super) fn end(&self) {
        self.set(IDLE);
    }

    /// Ends when the connection has not gone on for too long.
    pub(super) async fn overdue(&self) {
        loop {
            let now = Instant::now();
            let (phase, since) = self.get();
            let due = match phase {
                HEAD => since + self.header_timeout,
                IDLE => since + self.idle_timeout,
                // The script's own limits end it.
                _ => now + self.header_timeout,
            };
            if due <= now {
                return;
            }
            // A head may begin meanwhile, and has less time.
            tokio::time::sleep_until(due.min(now + self.header_timeout)).await;
        }
    }

    fn set(&self, phase: u64) {
        let ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX >> 2);
        self.state.store(ms << 2 | phase, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, Instant) {
        let state = self.state.load(Ordering::Relaxed);
        (state & 3, self.opened + Duration::from_millis(state >> 2))
    }

    fn has_read(&self) {
        if self.get().0 == IDLE {
            self.set(HEAD);
        }
    }

    fn has_written(&self) {
        if self.get().0 == IDLE {
            self.set(IDLE);
        }
    }
}

/// A connection that tells its progress.
pub(super) struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(bytes)) if bytes > 0) {
            self.progress.has_written();
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.progress.has_read();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
