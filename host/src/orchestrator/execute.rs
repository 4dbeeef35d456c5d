//! The test panel: runs a script on any request or event and returns everything about the run.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use picloud_shared::execution::{HttpRequest, Input};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ingress::request::{Envelope, decoded, for_script};
use super::ingress::throttle::Pass;
use super::work::{Origin, RecordedRun, Work};
use super::{Orchestrator, Parts};
use crate::auth::{Caller, Capability, Change};
use crate::definitions::Target;
use crate::error::{Error, Refusal};
use crate::events::payload;
use crate::executor::{Failure, LogLine};
use crate::json;
use crate::json::Verbatim;
use crate::serving::{HeldBody, read_body};
use crate::store::{ExecutionStatus, Resource, ScriptId, TriggerKind};

/// Returns the endpoints, to be merged into the API below `/api/v1` and behind its authentication.
pub fn api() -> OpenApiRouter<Orchestrator> {
    OpenApiRouter::new().routes(routes!(execute_script)).routes(routes!(test_script))
}

/// The encoding of bytes in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BodyEncoding {
    /// UTF-8 text.
    #[default]
    Text,
    /// Base64 (RFC 4648, section 4).
    Base64,
}

/// A request to test a script with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExecuteRequest {
    /// The method, in upper case.
    pub method: String,
    /// The path; if empty, the script's own endpoint.
    pub path: String,
    /// The query, without a question mark.
    pub query: String,
    /// Pairs of name and value, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The encoding of the body.
    pub body_encoding: BodyEncoding,
}

impl Default for ExecuteRequest {
    fn default() -> Self {
        Self {
            method: "POST".to_owned(),
            path: String::new(),
            query: String::new(),
            headers: Vec::new(),
            body: String::new(),
            body_encoding: BodyEncoding::Text,
        }
    }
}

/// An event to test a script with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestScript {
    /// The event that the script sees as `ctx.event`: an object with `kind` and the details of that
    /// kind.
    #[schema(value_type = Object)]
    pub event: Verbatim,
}

/// The result of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecuteAnswer {
    /// The execution, which is also recorded in the list of executions.
    pub execution_id: String,
    /// How it ended.
    pub status: ExecutionStatus,
    /// The script's response, if it returned one.
    pub response: Option<ExecuteResponse>,
    /// The error, if the run failed.
    pub error: Option<Failure>,
    /// The script's log lines.
    pub log: Vec<LogLine>,
    /// The number of wasm instructions.
    pub fuel_used: u64,
    /// The peak memory of the run, in bytes.
    pub memory_peak_bytes: u64,
    /// The duration of the run, in microseconds.
    pub duration_us: i64,
}

/// A script's response.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecuteResponse {
    /// The status.
    pub status: u16,
    /// Pairs of name and value, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The encoding of the body: base64 if it is not UTF-8.
    pub body_encoding: BodyEncoding,
}

/// Runs a script once on the given request.
#[utoipa::path(
    post, path = "/execute/{id}", tag = "scripts",
    params(("id" = String, Path, description = "The script's id")),
    request_body = ExecuteRequest,
    responses(
        (status = 200, description = "The script ran; `status` says how it ended", body = ExecuteAnswer),
        (status = 400, description = "The request is malformed"),
        (status = 401, description = "A key or a session is missing"),
        (status = 404, description = "There is no such script"),
        (status = 429, description = "The caller has reached the limit test_rate"),
        (status = 503, description = "Every execution slot is taken"),
    ),
    security(("key" = ["script:write"]))
)]
async fn execute_script(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<ExecuteAnswer>, Error> {
    let target = orchestrator.runnable(&caller, id).await?;
    // The request is JSON text, which can be larger than the body it encodes.
    let bytes_max = orchestrator.parts.request_bytes_max * 2;
    let held = request.extensions().get().cloned();
    let body = read_body(request.into_body(), bytes_max).await?;
    let wanted = if body.is_empty() {
        ExecuteRequest::default()
    } else {
        json::from_slice(&body).map_err(|error| Error::body_invalid(&error))?
    };
    let parts = &orchestrator.parts;
    let request = as_script_sees_it(wanted, &target, parts, held.as_ref()).await?;
    let input = Arc::new(Input::Http(request));
    let finished = orchestrator.run_by_hand(&caller, "execute_script", target, input, held);
    Ok(Json(answer(finished.await?)))
}

/// Runs a script once on an event, for example a captured one. Its writes and messages take effect.
#[utoipa::path(
    post, path = "/scripts/{id}/test", tag = "scripts",
    params(("id" = String, Path, description = "The script's id")),
    request_body = TestScript,
    responses((status = 200, description = "The script ran; `status` says how it ended", body = ExecuteAnswer),
        (status = 429, description = "The caller has reached the limit test_rate")),
    security(("key" = ["script:write"]))
)]
async fn test_script(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<ExecuteAnswer>, Error> {
    let target = orchestrator.runnable(&caller, id).await?;
    let held = request.extensions().get().cloned();
    let body = read_body(request.into_body(), orchestrator.parts.request_bytes_max).await?;
    let TestScript { event } =
        json::from_slice(&body).map_err(|error| Error::body_invalid(&error))?;
    let Verbatim(event) = event;
    if !event["kind"].is_string() {
        return Err(invalid("event: must be an object with a string `kind`"));
    }
    let kind = event["kind"].as_str().unwrap_or_default();
    // An unknown kind is checked like most kinds.
    let known = TriggerKind::try_from(kind.to_owned()).unwrap_or(TriggerKind::Queue);
    payload::check_details(known, &event[kind], u64::MAX)?;
    let event = event.to_string();
    let input = Arc::new(Input::Event(event));
    let finished = orchestrator.run_by_hand(&caller, "test_script", target, input, held);
    Ok(Json(answer(finished.await?)))
}

impl Orchestrator {
    /// Returns the script with that id, if the caller is allowed to run it by hand now.
    async fn runnable(
        &self,
        caller: &Caller,
        id: Result<Path<String>, PathRejection>,
    ) -> Result<Arc<Target>, Error> {
        let not_found = || Error::not_found(Resource::Script);
        // An id that is not text matches no script.
        let Path(id) = id.map_err(|_| not_found())?;
        let id: ScriptId = id.parse().map_err(|_| not_found())?;
        let target = self.table().await?.find_script(&id).ok_or_else(not_found)?;
        let (app_id, capability) = (&target.app_id, Capability::AppRunScripts);
        self.parts.auth.allow(caller, app_id, capability, Resource::Script).await?;
        self.parts.auth.count_test(caller)?;
        Ok(target)
    }

    /// Runs a script for a caller of the API. `held` is the memory of its body.
    async fn run_by_hand(
        &self,
        caller: &Caller,
        action: &'static str,
        target: Arc<Target>,
        input: Arc<Input>,
        held: Option<HeldBody>,
    ) -> Result<RecordedRun, Error> {
        let id = target.script_id.as_str();
        let change = Change::new(action, Resource::Script, id, &target.script);
        let entry = caller.entry(&self.parts.clock, change.in_app(&target.app_id));
        let (kind, origin) = (TriggerKind::Execute, Origin::by_hand(entry));
        let pass = Pass::free().holding(held.as_ref());
        self.run_to_the_end(Work { target, kind, input, origin }, pass).await
    }
}

fn invalid(message: &str) -> Error {
    Error::Invalid(Refusal::new("request_invalid", message))
}

async fn as_script_sees_it(
    wanted: ExecuteRequest,
    target: &Target,
    parts: &Parts,
    held: Option<&HeldBody>,
) -> Result<HttpRequest, Error> {
    let bytes_max = parts.request_bytes_max;
    let body = match wanted.body_encoding {
        BodyEncoding::Text => wanted.body.into_bytes(),
        BodyEncoding::Base64 => {
            STANDARD.decode(wanted.body).map_err(|error| invalid(&format!("body: {error}")))?
        }
    };
    if body.len() > bytes_max {
        let message = format!("the request's body is larger than {bytes_max} bytes");
        return Err(Error::TooLarge(Refusal::new("body_too_large", message)));
    }
    let path = if wanted.path.is_empty() {
        format!("/x/{}/{}", target.app, target.script)
    } else {
        wanted.path
    };
    let uri = if wanted.query.is_empty() { path } else { format!("{path}?{}", wanted.query) };
    let uri: Uri = uri.parse().map_err(|_| invalid("the path or query is not valid in a URL"))?;
    let method: Method =
        wanted.method.parse().map_err(|_| invalid("the method is not a valid HTTP method"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &wanted.headers {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => headers.append(name, value),
            _ => return Err(invalid(&format!("headers: {name:?} has an invalid name or value"))),
        };
    }
    let body = decoded(&mut headers, body, bytes_max, held).await?;
    let envelope = Envelope {
        method: method.as_str(),
        uri: &uri,
        headers: &headers,
        remote_address: String::new(),
    };
    for_script(&envelope, Vec::new(), body, &parts.form_limits).await
}

fn answer(finished: RecordedRun) -> ExecuteAnswer {
    let outcome = finished.outcome;
    let response = outcome.response.map(|response| {
        let (body, body_encoding) = match String::from_utf8(response.body) {
            Ok(text) => (text, BodyEncoding::Text),
            Err(error) => (STANDARD.encode(error.into_bytes()), BodyEncoding::Base64),
        };
        ExecuteResponse { status: response.status, headers: response.headers, body, body_encoding }
    });
    ExecuteAnswer {
        execution_id: finished.execution_id.to_string(),
        status: outcome.status.into(),
        response,
        error: outcome.failure,
        log: outcome.log,
        fuel_used: outcome.fuel_used,
        memory_peak_bytes: outcome.memory_peak_bytes,
        duration_us: outcome.duration_us,
    }
}
