//! The front: answers all requests of the process.
//!
//! ```text
//! request ─▶ response log ─▶ target checked ─▶ body counted ─┬▶ a claimed domain, /x/: a script
//!                                                            └▶ the platform: API, dashboard
//! ```

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use tower_service::Service;

use crate::answers::AnswerLog;
use crate::metrics::Metrics;
use crate::orchestrator::Orchestrator;
use crate::serving::{self, Answers, BodyBudget};

/// Answers all requests of the process. Cheap to clone.
///
/// Its steps are plain calls, not layers of a router: a router clones every layer with its state
/// for each request, which costs a tenth of a short run.
#[derive(Clone)]
pub struct Front(Arc<FrontParts>);

/// The parts that answer requests.
pub struct FrontParts {
    /// The response log.
    pub log: AnswerLog,
    /// Counts the responses.
    pub metrics: Metrics,
    /// Limits the memory of all bodies.
    pub bodies: BodyBudget,
    /// Answers the requests to scripts.
    pub orchestrator: Orchestrator,
    /// Answers the others: the API, the dashboard and the health checks.
    pub platform: Router,
}

impl Front {
    /// Connects the parts.
    #[must_use]
    pub fn new(parts: FrontParts) -> Self {
        Self(Arc::new(parts))
    }

    async fn respond(&self, request: Request) -> Response {
        let FrontParts { log, metrics, .. } = &*self.0;
        let asked = log.note(&request);
        let answer = match serving::check_target(&request) {
            Some(refused) => refused,
            None => self.pass_on(request).await,
        };
        metrics.answered(answer.status().as_u16());
        let is_head = asked.method == Method::HEAD;
        let answer = log.finish(asked, answer);
        if is_head { without_body(answer) } else { answer }
    }

    async fn pass_on(&self, request: Request) -> Response {
        let FrontParts { bodies, orchestrator, platform, .. } = &*self.0;
        // Held until the response is ready.
        let (request, _held) = bodies.hold(request);
        match orchestrator.answer_public(request).await {
            ControlFlow::Break(answer) => answer,
            ControlFlow::Continue(request) => platform.clone().call(request).await.into_response(),
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

/// Returns the response to HEAD: that to GET without its body (RFC 9110, section 9.3.2).
fn without_body(mut answer: Response) -> Response {
    if let Some(bytes) = answer.body().size_hint().exact() {
        answer.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| bytes.into());
    }
    *answer.body_mut() = Body::empty();
    answer
}
