//! The JSON form of an event as a script sees it. No other module knows this form.
//!
//! `{kind, operation, app, id, attempt, depth, created_at, <kind>: {…}}`, with times in
//! milliseconds. The member named after the kind holds the details. The outbox and dead letters
//! store the details as the payload. Requests are shown without credentials.

use serde_json::{Value, json};

use crate::json::Verbatim;
use crate::requests;
use crate::store::{DeadLetter, Event, Json, Operations, TriggerDetail, TriggerKind};

/// Returns the whole event, from its row and the name of its app.
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
    // The platform wrote this JSON. If it is damaged, its text is more useful than null.
    payload.value().unwrap_or_else(|_| Value::from(payload.as_str()))
}

/// Returns the details of a changed key.
pub(crate) fn of_key(collection: &str, key: &str, value: Option<&str>) -> Value {
    json!({ "collection": collection, "key": key, "value": value.map(parsed) })
}

/// Returns the details of a changed file.
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

/// Returns the details of a queue message.
pub(crate) fn of_message(queue: &str, payload: &str) -> Value {
    json!({ "queue": queue, "payload": parsed(payload) })
}

/// Returns the details of a topic message.
pub(crate) fn of_publication(topic: &str, payload: &str) -> Value {
    json!({ "topic": topic, "payload": parsed(payload) })
}

/// Returns the details of a script run that another script or a caller asked for.
pub(crate) fn of_script(name: &str, caller: Option<&str>, payload: &str) -> Value {
    json!({ "name": name, "caller": caller, "payload": parsed(payload) })
}

/// Returns the details of a due schedule.
pub(crate) fn of_schedule(expression: &str, zone: &str, due_at: i64) -> Value {
    json!({ "schedule": expression, "zone": zone, "due_at": due_at.div_euclid(1000) })
}

/// Returns the details of a dead letter, with the whole given-up event nested inside.
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

/// Returns the operation, source and details of a made-up event that the trigger fires on.
pub(crate) fn made_up(detail: &TriggerDetail, now: i64) -> (String, String, Value) {
    let first = |operations: &Operations| {
        let operations = Vec::from(operations.clone());
        operations.first().map_or("update", |operation| operation.as_str()).to_owned()
    };
    match detail {
        TriggerDetail::Kv { collection, operations } => {
            (first(operations), collection.clone(), of_key(collection, "example", None))
        }
        TriggerDetail::Cron { expression, zone, .. } => {
            ("fire".to_owned(), expression.clone(), of_schedule(expression, zone, now))
        }
        TriggerDetail::Queue { queue } => {
            ("send".to_owned(), queue.clone(), of_message(queue, "null"))
        }
        TriggerDetail::Pubsub { topic } => {
            ("publish".to_owned(), topic.clone(), of_publication(topic, "null"))
        }
        TriggerDetail::Email { address } => {
            ("receive".to_owned(), address.clone(), json!({ "to": address }))
        }
        TriggerDetail::Files { bucket, path, operations } => {
            (first(operations), bucket.clone(), of_file(bucket, path, None))
        }
        TriggerDetail::DeadLetter { .. } => {
            let details = json!({
                "id": null,
                "event": {},
                "attempts": 0,
                "last_error": "fired by hand",
                "trigger_id": null,
                "script": null,
                "first_attempt_at": now.div_euclid(1000),
                "last_attempt_at": now.div_euclid(1000),
            });
            ("bury".to_owned(), String::new(), details)
        }
    }
}

fn parsed(json: &str) -> Value {
    Verbatim::read(json).unwrap_or_else(|_| Value::from(json))
}
