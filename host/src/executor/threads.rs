//! The threads that guests run on, and the first slice of a run on its caller's thread.
//!
//! ```text
//!  run ─▶ first slice, on the caller's thread ─▶ result
//!              │ yields: uses more CPU than a slice
//!              └────▶ guest threads ─▶ result
//! ```
//!
//! Most runs end within one slice. Moving them to another thread and back would cost more than the
//! run. A run that waits, for the database or for another server, is polled where its caller is.
//!
//! Invariant: the caller's thread runs a guest for at most a slice, [`YIELD_INTERVAL_FUEL`], before
//! other tasks get their turn, and for at most [`POLLS_HERE_MAX`] slices of one run.
//!
//! [`YIELD_INTERVAL_FUEL`]: super::engine::YIELD_INTERVAL_FUEL

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime};

use super::pool::Saturated;

/// The maximum number of times that a run is polled on its caller's thread.
const POLLS_HERE_MAX: u8 = 16;

/// The number of runs that start on the guest threads after one that used more than a slice. Then
/// the script gets another chance.
const STARTS_AFTER_OVERRUN: u8 = 32;

/// Work of the host on more bytes than this is not short: it ends the slice first.
pub(super) const SHORT_BYTES_MAX: usize = 64 << 10;

/// Ends the slice, so that a run on its caller's thread moves to the guest threads. Must be called
/// before the host works on much data.
pub(super) async fn end_slice() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        // As wasmtime does when a guest yields.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Where the next runs of a script start.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// The number of further runs that start on the guest threads.
    on_guest_threads: AtomicU8,
}

impl Start {
    /// Counts a run, and returns whether it starts on the guest threads.
    pub(super) fn next_is_on_guest_threads(&self) -> bool {
        // Not exact if several runs start at once, which does no harm.
        let left = self.on_guest_threads.load(Ordering::Relaxed);
        if left > 0 {
            self.on_guest_threads.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    fn overran(&self) {
        self.on_guest_threads.store(STARTS_AFTER_OVERRUN, Ordering::Relaxed);
    }
}

/// The threads that guests run on.
pub(super) struct GuestThreads(Option<Runtime>);

impl GuestThreads {
    pub(super) fn start() -> Result<Self, std::io::Error> {
        let threads = std::thread::available_parallelism()?.get();
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("picloud-guest")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `work` on the guest threads, to its end even if the caller is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Saturated>> + Send + 'static,
    ) -> Result<T, Saturated> {
        let Some(runtime) = &self.0 else {
            return Err(Saturated);
        };
        joined(runtime.spawn(work).await)
    }

    /// Runs `work` on the caller's thread while it is short, and on the guest threads from its
    /// first yield on. A caller that is dropped drops the work, unless it has moved.
    pub(super) async fn run_from_here<T: Send + 'static>(
        &self,
        start: &Start,
        work: impl Future<Output = Result<T, Saturated>> + Send + 'static,
    ) -> Result<T, Saturated> {
        if start.next_is_on_guest_threads() {
            return self.run(work).await;
        }
        let Some(runtime) = &self.0 else {
            return Err(Saturated);
        };
        let here = Here { work: Some(Box::pin(work)), threads: runtime.handle(), polls: 0 };
        match here.await {
            Ended::Here(result) => result,
            Ended::Moved(task) => {
                start.overran();
                joined(task.await)
            }
        }
    }
}

fn joined<T>(ended: Result<Result<T, Saturated>, tokio::task::JoinError>) -> Result<T, Saturated> {
    match ended {
        Ok(done) => done,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(Saturated),
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The last clone can be dropped in async code, which must not wait for the threads.
            runtime.shutdown_background();
        }
    }
}

/// Work that is polled on its caller's thread until it yields.
struct Here<'t, T> {
    work: Option<BoxFuture<'static, Result<T, Saturated>>>,
    threads: &'t Handle,
    polls: u8,
}

enum Ended<T> {
    Here(Result<T, Saturated>),
    Moved(tokio::task::JoinHandle<Result<T, Saturated>>),
}

impl<T: Send + 'static> Future for Here<'_, T> {
    type Output = Ended<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<T>> {
        let Some(mut work) = self.work.take() else {
            // Only after the result, where the contract of futures allows anything.
            return Poll::Pending;
        };
        let yielded =
            Arc::new(Yielded { caller: cx.waker().clone(), is_woken: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&yielded));
        if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Poll::Ready(Ended::Here(result));
        }
        self.polls += 1;
        if yielded.is_woken.load(Ordering::Relaxed) || self.polls == POLLS_HERE_MAX {
            return Poll::Ready(Ended::Moved(self.threads.spawn(work)));
        }
        self.work = Some(work);
        Poll::Pending
    }
}

/// Tells work that yields, which wakes itself before it returns, from work that waits. Work whose
/// wait ends at once looks the same and moves too, which does no harm.
struct Yielded {
    caller: Waker,
    is_woken: AtomicBool,
}

impl Wake for Yielded {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.caller.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether work ran on a guest thread before and after `between`.
    async fn threads_of(
        threads: &GuestThreads,
        start: &Start,
        between: impl Future<Output = ()> + Send + 'static,
    ) -> (bool, bool) {
        let work = async move {
            let before = is_guest_thread();
            between.await;
            Ok((before, is_guest_thread()))
        };
        threads.run_from_here(start, work).await.unwrap()
    }

    fn is_guest_thread() -> bool {
        std::thread::current().name().is_some_and(|name| name.starts_with("picloud-guest"))
    }

    #[tokio::test]
    async fn work_moves_when_it_yields_and_not_when_it_waits() {
        let (threads, start) = (GuestThreads::start().unwrap(), Start::default());
        let ends = threads_of(&threads, &start, std::future::ready(())).await;
        assert_eq!(ends, (false, false), "short");
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let wait = async move { told.await.unwrap() };
        let waiting = threads_of(&threads, &start, wait);
        let tell = async { tell.send(()).unwrap() };
        assert_eq!(tokio::join!(waiting, tell).0, (false, false), "waits");
        let ends = threads_of(&threads, &start, end_slice()).await;
        assert_eq!(ends, (false, true), "yields");
    }

    #[tokio::test]
    async fn after_an_overrun_runs_start_on_the_guest_threads_for_a_while() {
        let (threads, start) = (GuestThreads::start().unwrap(), Start::default());
        threads_of(&threads, &start, end_slice()).await;
        for run in 0..STARTS_AFTER_OVERRUN {
            let ends = threads_of(&threads, &start, std::future::ready(())).await;
            assert_eq!(ends, (true, true), "{run}");
        }
        let ends = threads_of(&threads, &start, std::future::ready(())).await;
        assert_eq!(ends, (false, false));
    }

    #[tokio::test]
    async fn work_that_waits_often_moves_too() {
        let (threads, start) = (GuestThreads::start().unwrap(), Start::default());
        let waits = async {
            for _ in 0..POLLS_HERE_MAX {
                let (tell, told) = tokio::sync::oneshot::channel::<()>();
                tokio::spawn(async move { tell.send(()) });
                told.await.unwrap();
            }
        };
        assert_eq!(threads_of(&threads, &start, waits).await, (false, true));
    }
}
