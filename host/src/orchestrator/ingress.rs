//! The HTTP ingress: answers the public's requests to scripts, and returns all others.
//!
//! ```text
//! /x/{app}/…                     a script's endpoint or one of the app's routes
//! any path on a claimed domain   the app's routes there
//!
//! cors      requests from pages of other origins
//! throttle  rate limits and concurrency limits
//! guard     the authentication of requests to a route; pure
//! admission authenticates with the app's secrets, and reads the body
//! dashboard_host restrictions on the host that the dashboard uses too
//! request   from an HTTP request to the request that a script sees
//! reply     from the outcome of a run to an HTTP response
//! idempotency which requests are the same request
//! delivery  requests that are stored before they run
//! ```
//!
//! A run continues when its caller disconnects, so that every run has its row.
//!
//! ```text
//! preflight ─▶ 204
//! request ─▶ rate of its caller ─▶ secret ─▶ body ─▶ signature ─▶ rate of all ─▶ permit ─▶ run
//!             429         415      401      408, 413   401         429           429
//! ```
//!
//! Invariant: a refused request stores nothing.

mod admission;
mod cors;
mod dashboard_host;
pub(super) mod delivery;
mod guard;
mod idempotency;
mod reply;
pub(super) mod request;
pub(super) mod throttle;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use picloud_shared::execution::Input;

use self::idempotency::Keyed;
use self::request::{Envelope, decoded, for_script};
use self::throttle::Pass;
use super::Orchestrator;
use super::to_the_end::{Panicked, ToTheEnd};
use super::work::{Origin, RecordedRun, Work};
use crate::answers::Subject;
use crate::definitions::{Lookup, Match};
use crate::error::{Error, Refusal};
use crate::hostname::Hostname;
use crate::requests::coding::Coding;
use crate::requests::mask;
use crate::store::{Delivery, RouteAuth, TriggerKind};

/// The path prefix of the endpoints of all apps.
const PREFIX: &str = "/x/";

impl Orchestrator {
    /// Answers a request to a claimed domain or below `/x/`. Returns any other request.
    pub(crate) async fn answer_public(&self, request: Request) -> ControlFlow<Response, Request> {
        let found = self.find_public(request.method(), request.uri(), request.headers()).await;
        let Public { found, confined_to } = match found {
            Ok(Some(public)) => public,
            Ok(None) => return ControlFlow::Continue(request),
            Err(error) => return ControlFlow::Break(error.into_response()),
        };
        let place = confined_to.map(|app| (app, request.uri().path().to_owned()));
        let mut answer = self.answer(found, request).await;
        if let Some((app, asked)) = place {
            dashboard_host::confine(&app, &asked, answer.headers_mut());
        }
        ControlFlow::Break(answer)
    }

    /// Returns what answers a request; `None` if it is for the platform itself.
    ///
    /// # Errors
    /// - `Invalid` if the request's host is not a host: the header may name a claimed domain in a
    ///   spelling that cannot be parsed.
    /// - `Unavailable` if the definitions are unavailable, for paths below `/x/` and for domains
    ///   that were claimed in the last ones: a caller of these must not get the platform's own
    ///   pages. The platform's own hosts must answer, above all the health checks.
    async fn find_public(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<Public>, Error> {
        let host = Hostname::of_request(headers, uri).map_err(Error::host_invalid)?;
        let in_app = in_app(uri.path());
        let table = match self.table().await {
            Ok(table) => table,
            Err(error) => {
                let last = self.parts.definitions.last();
                let claims = |host| last.is_some_and(|table| table.has_domain(host));
                let is_public = in_app.is_some() || host.as_ref().is_some_and(claims);
                return if is_public { Err(error.into()) } else { Ok(None) };
            }
        };
        let method = method.as_str();
        let on_domain = host.and_then(|host| table.find_on_domain(&host, method, uri.path()));
        if let Some(found) = on_domain {
            return Ok(Some(Public { found, confined_to: None }));
        }
        let Some((app, rest)) = in_app else { return Ok(None) };
        let found = table.find_in_app(&app, method, rest);
        let is_shared = self.parts.auth.is_dashboard_host(headers);
        Ok(Some(Public { found, confined_to: is_shared.then(|| app.into_owned()) }))
    }

    async fn answer(&self, found: Lookup, request: Request) -> Response {
        let found = match found {
            Lookup::Script(found) => found,
            Lookup::Preflight(routes, otherwise) => {
                if cors::is_preflight(request.method(), request.headers()) {
                    return cors::preflight(&routes, request.headers());
                }
                return Box::pin(self.answer(*otherwise, request)).await;
            }
            Lookup::OtherMethods(methods) => return other_methods(&methods),
            Lookup::Closed => {
                let message = "this script answers only at its routes";
                return Error::NotFound(Refusal::new("endpoint_closed", message)).into_response();
            }
            Lookup::Nothing => {
                let refusal = Refusal::new("endpoint_not_found", "no script answers here");
                return Error::NotFound(refusal).into_response();
            }
        };
        let path = mask::path(request.uri().path(), &found.params).into_owned();
        let subject = Subject { app: found.target.app.clone(), path };
        let mut answer = self.answer_as_routed(found, request).await;
        if self.parts.logs_access || answer.status() == StatusCode::INTERNAL_SERVER_ERROR {
            answer.extensions_mut().insert(subject);
        }
        answer
    }

    async fn answer_as_routed(&self, found: Match, request: Request) -> Response {
        let Some(route) = found.route.clone().filter(|route| route.policy.cors.is_some()) else {
            let answer = self.answer_by(found, request).await;
            return answer.unwrap_or_else(IntoResponse::into_response);
        };
        let asked = request.headers().clone();
        let answer = self.answer_by(found, request).await;
        let mut answer = answer.unwrap_or_else(IntoResponse::into_response);
        // Also on a refusal, so that the page can read the reason.
        if let Some(cors) = &route.policy.cors {
            cors::decorate(cors, &asked, answer.headers_mut());
        }
        answer
    }

    async fn answer_by(&self, found: Match, request: Request) -> Result<Response, Error> {
        admission::check_understood(&found)?;
        let (mut head, body) = request.into_parts();
        let auth = &self.parts.auth;
        let sees_logs = auth.sees_logs(&found.target.app_id, &head).await;
        let remote_address = auth.caller_address(&head.extensions, &head.headers);
        // Checked before the body is read.
        Coding::of(&head.headers)?;
        let guarded = found.route.clone().filter(|route| !route.policy.auth.is_none());
        let asked = guarded.as_ref().map_or(&RouteAuth::None {}, |route| &route.policy.auth);
        let admission = self.let_in(&found, asked, &head.headers, body);
        let around = self.throttle.around(&found, remote_address, admission);
        let (mut admitted, pass) = match around.await? {
            Ok(admitted) => admitted,
            Err(denied) => return Ok(denied.into_response()),
        };
        let held = head.extensions.get();
        let pass = pass.holding(held);
        let (body, bytes_max) = (admitted.body, self.parts.request_bytes_max);
        admitted.body = decoded(&mut head.headers, body, bytes_max, held).await?;
        guard::strip(asked, &mut head.headers);
        if auth.shows_a_key(&head.headers) {
            // A platform key is never shown to a script.
            head.headers.remove(header::AUTHORIZATION);
        }
        let envelope = Envelope {
            method: head.method.as_str(),
            uri: &head.uri,
            headers: &head.headers,
            remote_address: remote_address.map(|a| a.to_string()).unwrap_or_default(),
        };
        let Match { target, params, delivery, route_id, .. } = found;
        let key = match &route_id {
            Some(route) if delivery != Delivery::Sync => {
                let (method, uri, headers) = (&head.method, &head.uri, &head.headers);
                let (app_id, admitted, at) = (&target.app_id, &admitted, self.parts.clock.now_us());
                let keyed = Keyed { app_id, route, method, uri, headers, admitted, at };
                self.key_of_request(&keyed).await?
            }
            _ => None,
        };
        let limits = &self.parts.form_limits;
        let request = for_script(&envelope, params, admitted.body, limits).await?;
        if delivery == Delivery::Sync {
            let input = Arc::new(Input::Http(request));
            let (kind, origin) = (TriggerKind::Http, Origin::request());
            let finished = self.run_to_the_end(Work { target, kind, input, origin }, pass).await?;
            return Ok(reply::answer(finished, sees_logs));
        }
        self.deliver_request(&target, delivery, &request, key, sees_logs).await
    }

    /// Calls [`Orchestrator::run`], which continues if the caller disconnects.
    pub(super) async fn run_to_the_end(
        &self,
        work: Work,
        pass: Pass,
    ) -> Result<RecordedRun, Error> {
        let here = self.clone();
        let run = ToTheEnd::new(async move {
            let _pass = pass;
            here.run(work).await
        });
        run.await.unwrap_or_else(|Panicked| Err(Error::internal("a run panicked")))
    }
}

/// The part of an app that answers a request.
struct Public {
    found: Lookup,
    /// The app's name, if its pages share their host with the dashboard.
    confined_to: Option<String>,
}

/// Returns the app's name and the path within the app, if the path is below `/x/`.
fn in_app(path: &str) -> Option<(Cow<'_, str>, &str)> {
    let path = path.strip_prefix(PREFIX)?;
    let (app, rest) = match path.find('/') {
        Some(slash) => path.split_at(slash),
        None => (path, "/"),
    };
    (!app.is_empty()).then(|| (percent_decode_str(app).decode_utf8_lossy(), rest))
}

fn other_methods(methods: &[String]) -> Response {
    let mut answer = Error::MethodNotAllowed.into_response();
    if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}
