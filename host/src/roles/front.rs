//! The way of every request into the process.
//!
//! ```text
//! request ─▶ response log ─▶ target checked ─▶ body counted ─┬▶ a claimed domain, /x/: a script
//!                                                            └▶ API, dashboard, health
//! ```
//!
//! Plain calls, not layers of the router: a router clones every layer with its state for each
//! request, which costs a tenth of a short run.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use tower_service::Service;

use crate::answers::AnswerLog;
use crate::metrics::Metrics;
use crate::orchestrator::Orchestrator;
use crate::serving::{self, Answers, BodyBudget};

/// Answers all requests. Cheap to clone.
#[derive(Clone)]
pub struct Front(Arc<Parts>);

pub(super) struct Parts {
    pub(super) log: AnswerLog,
    pub(super) metrics: Metrics,
    pub(super) bodies: BodyBudget,
    pub(super) orchestrator: Orchestrator,
    /// The API, the dashboard and the health checks.
    pub(super) platform: Router,
}

impl Front {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    async fn respond(&self, request: Request) -> Response {
        let log = &self.0.log;
        let asked = log.note(&request);
        let answer = self.respond_checked(request).await;
        self.0.metrics.answered(answer.status().as_u16());
        log.finish(asked, answer)
    }

    async fn respond_checked(&self, request: Request) -> Response {
        if let Some(refused) = serving::check_target(&request) {
            return refused;
        }
        // Held until the response is ready.
        let (request, _held) = self.0.bodies.hold(request);
        match self.0.orchestrator.answer_public(request).await {
            ControlFlow::Break(answer) => answer,
            ControlFlow::Continue(request) => {
                self.0.platform.clone().call(request).await.into_response()
            }
        }
    }
}

impl Answers for Front {
    fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        let front = self.clone();
        Box::pin(async move { front.respond(request).await })
    }
}

/// For callers in the same process.
impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.respond(request).await) })
    }
}
