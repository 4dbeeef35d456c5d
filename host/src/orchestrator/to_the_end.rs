//! Work that continues when its caller is dropped.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt as _;
use futures::future::{BoxFuture, CatchUnwind};
use tokio::runtime::Handle;

/// Work on its caller's task, without the cost of a task of its own. If the caller is dropped
/// first, for example because it has disconnected, the work gets a task and continues.
pub(super) struct ToTheEnd<T: Send + 'static>(Option<Work<T>>);

type Work<T> = Pin<Box<CatchUnwind<AssertUnwindSafe<BoxFuture<'static, T>>>>>;

/// The work panicked. The panic itself is reported by the hook of the process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked;

impl<T: Send + 'static> ToTheEnd<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        let work: BoxFuture<'static, T> = Box::pin(work);
        Self(Some(Box::pin(AssertUnwindSafe(work).catch_unwind())))
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.0 else {
            // Polled after its end, where the contract of futures allows anything.
            return Poll::Pending;
        };
        let ended = ready!(work.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(ended.map_err(|_| Panicked))
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Outside of a runtime, the process is ending.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_continues_without_its_caller() {
        let (go, gone) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let mut work = ToTheEnd::new(async move {
            gone.await.unwrap();
            tell.send(7).unwrap();
        });
        assert!(futures::poll!(&mut work).is_pending());
        drop(work);
        go.send(()).unwrap();
        let told = tokio::time::timeout(Duration::from_secs(60), told).await;
        assert_eq!(told.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn work_that_was_never_polled_runs_too() {
        let (tell, told) = oneshot::channel();
        drop(ToTheEnd::new(async move { tell.send(7).unwrap() }));
        assert_eq!(told.await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_is_a_result() {
        let panics = ToTheEnd::<()>::new(async { panic!("on purpose") });
        assert_eq!(panics.await, Err(Panicked));
        assert_eq!(ToTheEnd::new(async { 7 }).await, Ok(7));
    }
}
