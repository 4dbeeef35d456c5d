//! HTTP in.
//!
//! ```text
//! /x/{app}/…                     a script's endpoint or one of the app's routes
//! any path on a claimed domain   the app's routes there
//!
//! request   from an HTTP request to what a script sees
//! reply     from what a run came to, to an HTTP response
//! delivery  requests that are stored before they are run
//! entries   keys and files that are read and changed by hand
//! events    messages through the API, and triggers fired by hand
//! execute   the test panel: any request to a script, and all about its run
//! ```
//!
//! A run goes on when its caller hangs up, so that every run has its row.

pub(super) mod delivery;
mod entries;
mod events;
mod execute;
mod reply;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http_body_util::LengthLimitError;
use picloud_shared::execution::Input;
use utoipa_axum::router::OpenApiRouter;

use self::request::{Envelope, for_script};
use super::Orchestrator;
use super::matching::{Found, Target};
use super::run::{Finished, Origin, Work};
use crate::auth::{Caller, Capability};
use crate::error::{Error, Refusal};
use crate::store::{App, Delivery, Resource, TriggerKind};

/// Below this path lie the endpoints of all apps.
const PREFIX: &str = "/x/";

/// What of the API below `/api/v1` runs scripts or brings what they react to; behind the
/// owner's key.
pub fn api() -> OpenApiRouter<Orchestrator> {
    execute::api().merge(events::api()).merge(entries::api())
}

/// The endpoints of scripts.
pub fn router(orchestrator: Orchestrator) -> Router {
    Router::new()
        .route("/x/{app}", any(answer_in_app))
        .route("/x/{app}/", any(answer_in_app))
        .route("/x/{app}/{*path}", any(answer_in_app))
        .with_state(orchestrator)
}

async fn answer_in_app(State(orchestrator): State<Orchestrator>, request: Request) -> Response {
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let (app, rest) = match path.find('/') {
        Some(slash) => path.split_at(slash),
        None => (path, "/"),
    };
    let found = match orchestrator.table().await {
        Ok(table) => table.find_in_app(app, request.method().as_str(), rest),
        Err(error) => return Error::from(error).into_response(),
    };
    orchestrator.answer(found, request).await
}

/// Middleware that answers what is asked of a claimed domain, before any path of
/// the platform's own is looked at.
pub async fn answer_on_domain(
    State(orchestrator): State<Orchestrator>,
    request: Request,
    next: Next,
) -> Response {
    let Some(host) = host_of(&request) else {
        return next.run(request).await;
    };
    match orchestrator.table().await {
        Ok(table) if table.has_domain(&host) => {
            let found =
                table.find_on_domain(&host, request.method().as_str(), request.uri().path());
            orchestrator.answer(found, request).await
        }
        // Without definitions no domain is known, but the platform's own paths
        // have to answer, above all those that tell its health.
        Ok(_) | Err(_) => next.run(request).await,
    }
}

/// The host without its port, in lower case (RFC 9110, section 7.2).
fn host_of(request: &Request) -> Option<String> {
    let host = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok()?,
        None => request.uri().host()?,
    };
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    Some(host.to_ascii_lowercase())
}

impl Orchestrator {
    /// The app of that name, if the caller may do this in it.
    async fn app(
        &self,
        caller: &Caller,
        name: &str,
        capability: Capability,
        resource: Resource,
    ) -> Result<App, Error> {
        let app = self.parts.store.find_app_by_name(name).await?;
        self.parts.auth.allow(caller, &app.id, capability, resource).await?;
        Ok(app)
    }

    async fn answer(&self, found: Found, request: Request) -> Response {
        let answer = match found {
            Found::Script(target, params, delivery) => {
                self.answer_by(target, params, delivery, request).await
            }
            Found::OtherMethods(methods) => Ok(other_methods(&methods)),
            Found::Nothing => {
                Err(Error::NotFound(Refusal::new("endpoint_not_found", "no script answers here")))
            }
        };
        answer.unwrap_or_else(IntoResponse::into_response)
    }

    async fn answer_by(
        &self,
        target: Arc<Target>,
        params: Vec<(String, String)>,
        delivery: Delivery,
        request: Request,
    ) -> Result<Response, Error> {
        let (head, body) = request.into_parts();
        let auth = &self.parts.auth;
        let sees_logs = auth.sees_logs(&target.app_id, &head.headers).await;
        let remote_address = auth.caller_address(&head.extensions, &head.headers);
        let envelope = Envelope {
            method: head.method.as_str(),
            uri: &head.uri,
            headers: &head.headers,
            remote_address: remote_address.map(|a| a.to_string()).unwrap_or_default(),
        };
        let body = read_body(body, self.parts.request_bytes_max).await?;
        let request = for_script(&envelope, params, body)?;
        if delivery == Delivery::Sync {
            let input = Input::Http(request);
            let finished = self.run_to_the_end(target, TriggerKind::Http, input).await?;
            return Ok(reply::answer(finished, sees_logs));
        }
        let scope = format!("{} {}", head.method, head.uri.path());
        let at = self.parts.clock.now_us();
        let key = delivery::key_of(&head.headers, &target.app_id, scope, at)?;
        self.deliver_request(&target, delivery, &request, key, sees_logs).await
    }

    /// [`Orchestrator::run`], also when the caller goes away meanwhile.
    async fn run_to_the_end(
        &self,
        target: Arc<Target>,
        trigger_kind: TriggerKind,
        input: Input,
    ) -> Result<Finished, Error> {
        let here = self.clone();
        let work = Work { target, kind: trigger_kind, input, origin: Origin::request() };
        let run = tokio::spawn(async move { here.run(work).await });
        run.await.map_err(Error::internal)?
    }
}

async fn read_body(body: Body, bytes_max: usize) -> Result<Vec<u8>, Error> {
    match axum::body::to_bytes(body, bytes_max).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let source = std::error::Error::source(&error);
            if source.is_some_and(<dyn std::error::Error>::is::<LengthLimitError>) {
                let message = format!("the request's body is larger than {bytes_max} bytes");
                let refusal = Refusal::new("body_too_large", message);
                return Err(Error::TooLarge(
                    refusal.with("limit", "request_bytes").with("most", bytes_max),
                ));
            }
            Err(Error::Invalid(Refusal::new(
                "body_incomplete",
                "the request's body did not arrive",
            )))
        }
    }
}

fn other_methods(methods: &[String]) -> Response {
    let mut answer = Error::MethodNotAllowed.into_response();
    if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}
