//! Turns the outcome of a run into the response to its caller.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::executor::{self, Failure, Status};
use crate::orchestrator::answer::failure;
use crate::orchestrator::work::RecordedRun;
use crate::store::ExecutionId;

/// The execution that produced the response.
pub(super) const EXECUTION_ID: HeaderName = HeaderName::from_static("x-picloud-execution-id");

/// The fuel used; only for callers that can see the script's logs.
const FUEL: HeaderName = HeaderName::from_static("x-picloud-fuel");

/// Returns the response. Only callers that can see the script's logs get a failure's message.
/// Others get its kind and the execution's id.
pub(super) fn answer(finished: RecordedRun, sees_logs: bool) -> Response {
    let RecordedRun { execution_id: id, outcome } = finished;
    let mut answer = match (outcome.response, &outcome.failure) {
        (Some(response), _) => scripted(response),
        (None, failure) => failed(outcome.status, &id, failure.as_ref().filter(|_| sees_logs)),
    };
    let headers = answer.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(EXECUTION_ID, id);
    }
    if sees_logs {
        headers.insert(FUEL, HeaderValue::from(outcome.fuel_used));
    }
    answer
}

/// Returns the script's response, which the executor has checked.
fn scripted(response: executor::Response) -> Response {
    let mut answer = Response::new(Body::from(response.body));
    *answer.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::OK);
    for (name, value) in response.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

fn failed(status: Status, id: &ExecutionId, shown: Option<&Failure>) -> Response {
    let (code, mut body) = failure(status, id);
    let shown = shown.map(|failure| serde_json::to_value(failure).unwrap_or_default());
    if let (Some(Value::Object(error)), Some(Value::Object(shown))) = (body.get_mut("error"), shown)
    {
        // The failure's own message replaces the general one.
        error.extend(shown);
    }
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, Json(body)).into_response()
}
