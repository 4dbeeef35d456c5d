//! The memory budget of all request bodies in this process.
//!
//! ```text
//! frame arrives ─▶ takes its bytes from the budget ─▶ handler ─▶ run ─▶ bytes returned
//!                  budget exhausted: 503, and the body's bytes are returned
//! ```
//!
//! Bytes count as they arrive, so that a declared length reserves nothing. They count until the
//! response is ready and the run it has started has ended. A stalled sender holds its bytes until
//! the body timeout.
//!
//! Invariant: the bytes in use never exceed the budget.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Metrics;

/// When a caller can retry after its body was refused, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// No memory is left for this body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server has used up its memory for request bodies")]
pub struct BodiesFull;

impl BodiesFull {
    /// Whether this error, or one of its causes, is [`BodiesFull`].
    #[must_use]
    pub fn is_cause_of(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source())
            .any(<dyn std::error::Error>::is::<Self>)
    }

    /// Returns the refusal: `Unavailable` with the code `bodies_full`.
    #[must_use]
    pub fn refuse() -> crate::error::Error {
        let refusal = crate::error::Refusal::new("bodies_full", Self.to_string())
            .with("limit", "body_budget_bytes");
        crate::error::Error::Unavailable { refusal, retry_after_s: RETRY_AFTER_S }
    }
}

/// The budget shared by all bodies. Cheap to clone.
#[derive(Clone)]
pub struct BodyBudget {
    bytes_max: u64,
    /// The number of bytes in use.
    held: Gauge<u64, AtomicU64>,
    refused: Counter,
}

impl BodyBudget {
    /// Creates a budget of `bytes_max` bytes, which `metrics` reports.
    #[must_use]
    pub fn new(bytes_max: u64, metrics: &Metrics) -> Self {
        let (held, refused) = metrics.bodies();
        Self { bytes_max, held, refused }
    }

    /// Counts the body of a request against the budget while the returned value exists. Work that
    /// continues after the response keeps the [`HeldBody`] from the request's extensions.
    #[must_use]
    pub fn hold(&self, request: Request) -> (Request, Option<HeldBody>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let held = HeldBody::new(self.clone());
        let mut request = request.map(|body| Body::new(BudgetedBody { body, held: held.clone() }));
        request.extensions_mut().insert(held.clone());
        (request, Some(held))
    }

    fn take(&self, bytes: u64) -> Result<(), BodiesFull> {
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= self.bytes_max);
        let taken = self.held.inner().fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| ()).map_err(|_| {
            self.refused.inc();
            BodiesFull
        })
    }
}

/// The bytes in use by one request. They are returned when the last clone is dropped.
#[derive(Clone)]
pub struct HeldBody(Arc<Held>);

struct Held {
    budget: BodyBudget,
    bytes: AtomicU64,
}

impl HeldBody {
    fn new(budget: BodyBudget) -> Self {
        Self(Arc::new(Held { budget, bytes: AtomicU64::new(0) }))
    }

    /// Counts data that is derived from the body and kept besides it.
    ///
    /// # Errors
    /// `Unavailable` if no memory is left for it.
    pub fn hold(&self, bytes: usize) -> Result<(), crate::error::Error> {
        self.take(bytes as u64).map_err(|BodiesFull| BodiesFull::refuse())
    }

    fn take(&self, bytes: u64) -> Result<(), BodiesFull> {
        self.0.budget.take(bytes)?;
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.dec_by(*self.bytes.get_mut());
    }
}

/// A body that fails with [`BodiesFull`] if no memory is left for the data that has arrived.
struct BudgetedBody {
    body: Body,
    held: HeldBody,
}

impl HttpBody for BudgetedBody {
    type Data = axum::body::Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(Self::Error::from).and_then(|frame| {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.held.take(bytes)?;
            Ok(frame)
        });
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
