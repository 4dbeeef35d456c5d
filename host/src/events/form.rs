//! The event as a script sees it, and the only place that knows its form.
//!
//! `{kind, operation, app, id, attempt, depth, created_at, <kind>: {…}}`, times in
//! milliseconds. The details, under the name of the kind, are what the outbox and
//! dead letters keep as the payload; a request is shown without its credentials.

use serde_json::{Value, json};

use crate::json::Verbatim;
use crate::requests;
use crate::store::{DeadLetter, Event, Json, TriggerKind};

/// The whole event, from its row and the name of its app.
pub(crate) fn as_script_sees_it(event: &Event, app: &str) -> Value {
    let mut seen = json!({
        "kind": event.kind.as_str(),
        "operation": event.operation,
        "app": app,
        "id": event.id.as_str(),
        "attempt": event.attempt,
        "depth": event.depth,
        "created_at": event.created_at.div_euclid(1000),
    });
    seen[event.kind.as_str()] = details(event.kind, &event.payload);
    seen
}

fn details(kind: TriggerKind, payload: &Json) -> Value {
    if kind == TriggerKind::Http {
        return requests::shown(payload);
    }
    // Our own JSON; were it damaged, the text itself says more than nothing.
    payload.value().unwrap_or_else(|_| Value::from(payload.as_str()))
}

/// What happened to a key.
pub(crate) fn of_key(collection: &str, key: &str, value: Option<&str>) -> Value {
    json!({ "collection": collection, "key": key, "value": value.map(parsed) })
}

/// What happened to a file.
pub(crate) fn of_file(bucket: &str, path: &str, described: Option<&str>) -> Value {
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
pub(crate) fn of_message(queue: &str, payload: &str) -> Value {
    json!({ "queue": queue, "payload": parsed(payload) })
}

/// A message on a topic.
pub(crate) fn of_publication(topic: &str, payload: &str) -> Value {
    json!({ "topic": topic, "payload": parsed(payload) })
}

/// A script to be run because another one asked for it, or somebody did.
pub(crate) fn of_script(name: &str, caller: Option<&str>, payload: &str) -> Value {
    json!({ "name": name, "caller": caller, "payload": parsed(payload) })
}

/// A schedule that has come due.
pub(crate) fn of_schedule(expression: &str, zone: &str, due_at: i64) -> Value {
    json!({ "schedule": expression, "zone": zone, "due_at": due_at.div_euclid(1000) })
}

/// An event that was given up, nested whole.
pub(crate) fn of_dead_letter(letter: &DeadLetter, app: &str) -> Value {
    let mut event = json!({
        "kind": letter.kind.as_str(),
        "operation": letter.operation,
        "app": app,
        "id": letter.event_id.as_str(),
        "attempt": letter.attempts,
        "depth": letter.depth,
        "created_at": letter.event_created_at.div_euclid(1000),
    });
    event[letter.kind.as_str()] = details(letter.kind, &letter.payload);
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
    Verbatim::read(json).unwrap_or_else(|_| Value::from(json))
}
