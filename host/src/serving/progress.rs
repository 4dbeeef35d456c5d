//! Tracks the state of a connection. A stalled connection can then be distinguished from one that
//! waits for a script, and closing it loses no response.
//!
//! Closing a socket that has unread bytes, or receives more, resets the connection. The caller can
//! then lose a response, for example a 413 to a large upload. A connection is therefore closed on
//! our side first. Further bytes are read and dropped until the caller closes too, for at most
//! [`LINGER_MAX`] (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::ConnectionLimits;

/// The head of a request is arriving.
const HEAD: u64 = 0;
/// A request is being processed.
const BUSY: u64 = 1;
/// The last response is ready, and is being sent or has been read.
const IDLE: u64 = 2;

/// How long bytes are read from a caller that got its response before sending its whole request.
const LINGER_MAX: Duration = Duration::from_secs(5);
/// The number of bytes dropped at once.
const DROPPED_BYTES: usize = 16 << 10;

/// The phase of a connection, and when it began.
pub(super) struct Progress {
    opened: Instant,
    header_timeout: Duration,
    idle_timeout: Duration,
    /// The milliseconds since the connection was opened, times four, plus one of the phases above.
    state: AtomicU64,
    /// Whether a request has arrived in part.
    has_part: AtomicBool,
}

impl Progress {
    pub(super) fn new(limits: &ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            header_timeout: Duration::from_millis(limits.header_timeout_ms),
            idle_timeout: Duration::from_millis(limits.idle_timeout_ms),
            state: AtomicU64::new(HEAD),
            has_part: AtomicBool::new(false),
        })
    }

    /// Records that a request's head has arrived.
    pub(super) fn begin(&self) {
        self.set(BUSY);
    }

    /// Records that the whole request has arrived.
    pub(super) fn has_whole_request(&self) {
        self.has_part.store(false, Ordering::Relaxed);
    }

    /// Records that the response is ready.
    pub(super) fn end(&self) {
        self.set(IDLE);
    }

    /// Completes when the connection has stalled for too long.
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
            // A head can begin in the meantime, and has a shorter timeout.
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
        self.has_part.store(true, Ordering::Relaxed);
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

/// A connection that reports its progress.
pub(super) struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
    /// The end of reading after our side was closed.
    linger: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress, linger: None }
    }

    /// Reads and drops bytes until the caller closes, or for [`LINGER_MAX`].
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = || Box::pin(tokio::time::sleep(LINGER_MAX));
        if self.linger.get_or_insert_with(until).as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut dropped = [0; DROPPED_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut dropped);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
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
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.progress.has_part.load(Ordering::Relaxed) {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
