//! The memory that request bodies may take in this process, all together.
//!
//! ```text
//! frame arrives ─▶ its bytes are taken from the budget ─▶ handler ─▶ run ─▶ given back
//!                  none left: 503, and what the body has taken is given back
//! ```
//!
//! Bytes count as they arrive, so that a declared length holds nothing. They count until the
//! request is answered and the run that it has started has ended. A sender that stalls holds
//! them until the body timeout.
//!
//! Invariant: the bytes that are held never exceed the budget.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Metrics;

/// When a caller whose body found no memory may come again.
const RETRY_AFTER_S: u32 = 1;

/// There is no memory left for this body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server holds as many bytes of request bodies as it may")]
pub struct BodiesFull;

impl BodiesFull {
    /// Whether this error, or what caused it, is [`BodiesFull`].
    #[must_use]
    pub fn is_cause_of(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source())
            .any(<dyn std::error::Error>::is::<Self>)
    }

    /// The refusal: `Unavailable` with the code `bodies_full`.
    #[must_use]
    pub fn refuse() -> crate::error::Error {
        let refusal = crate::error::Refusal::new("bodies_full", Self.to_string())
            .with("limit", "body_budget_bytes");
        crate::error::Error::Unavailable { refusal, retry_after_s: RETRY_AFTER_S }
    }
}

/// What all bodies share. Cheap to clone.
#[derive(Clone)]
pub struct BodyBudget {
    bytes_max: u64,
    /// The bytes that are held.
    held: Gauge<u64, AtomicU64>,
    refused: Counter,
}

impl BodyBudget {
    /// A budget of `bytes_max` bytes, which `metrics` show.
    #[must_use]
    pub fn new(bytes_max: u64, metrics: &Metrics) -> Self {
        let (held, refused) = metrics.bodies();
        Self { bytes_max, held, refused }
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

/// The bytes that one request holds. They are given back when the last clone is dropped.
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

    /// Counts what is made of the body and kept beside it.
    ///
    /// # Errors
    /// `Unavailable` when there is no memory left for it.
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

/// Middleware that counts the body of a request against the budget until it is answered. What
/// goes on after the answer keeps the [`HeldBody`] from the request's extensions.
pub async fn hold_body(State(budget): State<BodyBudget>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let held = HeldBody::new(budget);
    let mut request = request.map(|body| Body::new(BudgetedBody { body, held: held.clone() }));
    request.extensions_mut().insert(held.clone());
    let answer = next.run(request).await;
    drop(held);
    answer
}

/// A body that fails with [`BodiesFull`] when there is no memory for what has arrived.
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
