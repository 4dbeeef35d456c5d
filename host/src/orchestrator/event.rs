//! The event as a script sees it, and the only place that knows its form.
//!
//! `{kind, operation, app, id, attempt, depth, created_at, <kind>: {…}}`, times in
//! milliseconds. The details, under the name of the kind, are what the outbox and
//! dead letters keep as the payload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picloud_shared::execution::{BodyKind, HttpRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::store::{DeadLetter, Event, Json, TriggerKind};

/// The whole event, from its row and the name of its app.
pub(super) fn as_script_sees_it(event: &Event, app: &str) -> Value {
    let mut seen = json!({
        "kind": event.kind.as_str(),
        "operation": event.operation,
        "app": app,
        "id": event.id.as_str(),
        "attempt": event.attempt,
        "depth": event.depth,
        "created_at": event.created_at.div_euclid(1000),
    });
    seen[event.kind.as_str()] = details(&event.payload);
    seen
}

fn details(payload: &Json) -> Value {
    // Our own JSON; were it damaged, the text itself says more than nothing.
    payload.to().unwrap_or_else(|_| Value::from(payload.as_str()))
}

/// What happened to a key.
pub(super) fn of_key(collection: &str, key: &str, value: Option<&str>) -> Value {
    json!({ "collection": collection, "key": key, "value": value.map(parsed) })
}

/// What happened to a file.
pub(super) fn of_file(bucket: &str, path: &str, described: Option<&str>) -> Value {
    let described = described.map(parsed).unwrap_or_default();
    json!({
        "bucket": bucket,
        "path": path,
        "size": described["size_bytes"],
        "content_type": described["content_type"],
        "sha256": described["sha256"],
    })
}

/// A message of a queue.
pub(super) fn of_message(queue: &str, payload: &str) -> Value {
    json!({ "queue": queue, "payload": parsed(payload) })
}

/// A message on a topic.
pub(super) fn of_publication(topic: &str, payload: &str) -> Value {
    json!({ "topic": topic, "payload": parsed(payload) })
}

/// A script to be run because another one asked for it, or somebody did.
pub(super) fn of_script(name: &str, caller: Option<&str>, payload: &str) -> Value {
    json!({ "name": name, "caller": caller, "payload": parsed(payload) })
}

/// A schedule that has come due.
pub(super) fn of_schedule(expression: &str, zone: &str, due_at: i64) -> Value {
    json!({ "schedule": expression, "zone": zone, "due_at": due_at.div_euclid(1000) })
}

/// An event that was given up, nested whole.
pub(super) fn of_dead_letter(letter: &DeadLetter, app: &str) -> Value {
    let mut event = json!({
        "kind": letter.kind.as_str(),
        "operation": letter.operation,
        "app": app,
        "id": letter.event_id.as_str(),
        "attempt": letter.attempts,
        "depth": letter.depth,
        "created_at": letter.event_created_at.div_euclid(1000),
    });
    event[letter.kind.as_str()] = details(&letter.payload);
    json!({
        "id": letter.id.as_str(),
        "event": event,
        "attempts": letter.attempts,
        "last_error": letter.last_error,
        "trigger_id": letter.trigger_id.as_ref().map(crate::store::TriggerId::as_str),
        "script": letter.script_name,
        "script_id": letter.script_id.as_str(),
        "script_version": letter.script_version,
        "first_attempt_at": letter.first_attempt_at.div_euclid(1000),
        "last_attempt_at": letter.last_attempt_at.div_euclid(1000),
    })
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))
}

/// A request that waits in the outbox. Its body is base64, so that nothing is lost.
#[derive(Serialize, Deserialize)]
struct StoredRequest {
    method: String,
    path: String,
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    remote_address: String,
    body: String,
    body_kind: BodyKind,
}

/// The payload of a request that is stored.
///
/// # Errors
/// Never in practice: every part of it has a JSON form.
pub(super) fn of_request(request: &HttpRequest) -> serde_json::Result<Json> {
    Json::of(&StoredRequest {
        method: request.method.clone(),
        path: request.path.clone(),
        params: request.params.clone(),
        query: request.query.clone(),
        headers: request.headers.clone(),
        remote_address: request.remote_address.clone(),
        body: STANDARD.encode(&request.raw),
        body_kind: request.body,
    })
}

/// The request that was stored, from the payload of an event of kind `http`.
pub(super) fn to_request(event: &Event) -> Option<HttpRequest> {
    if event.kind != TriggerKind::Http {
        return None;
    }
    let stored: StoredRequest = event.payload.to().ok()?;
    Some(HttpRequest {
        method: stored.method,
        path: stored.path,
        params: stored.params,
        query: stored.query,
        headers: stored.headers,
        remote_address: stored.remote_address,
        raw: STANDARD.decode(stored.body).ok()?,
        body: stored.body_kind,
    })
}
