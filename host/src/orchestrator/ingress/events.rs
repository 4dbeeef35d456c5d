//! Events through the API: messages from outside of a script, and triggers that are
//! fired by hand.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::delivery::REPLAYED;
use super::idempotency::{key_of_caller, reused};
use crate::auth::{Caller, Capability, Change};
use crate::definitions::{REMADE_MAX, Table, definitions_move};
use crate::error::{Error, Refusal};
use crate::events::{Common, brought_by, form, payload};
use crate::executor::entries::{DELAY_MS_MAX, NAME_BYTES_MAX};
use crate::json;
use crate::json::Verbatim;
use crate::orchestrator::Orchestrator;
use crate::serving::read_body;
use crate::store::{
    self, Accepted, App, EventId, Json as JsonText, NewEvent, Resource, Trigger, TriggerDetail,
    TriggerId, TriggerKind,
};

/// The endpoints, to be merged into the API below `/api/v1`.
pub fn api() -> OpenApiRouter<Orchestrator> {
    OpenApiRouter::new().routes(routes!(send_event)).routes(routes!(fire_trigger))
}

/// A message from outside of a script. One of `queue`, `topic` and `script` says where
/// to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SendEvent {
    /// A queue: its trigger gets the message, also one that is made later.
    queue: Option<String>,
    /// A topic: every trigger that listens gets the message.
    topic: Option<String>,
    /// The name of a script to run.
    script: Option<String>,
    /// What to send.
    #[schema(value_type = Value)]
    payload: Verbatim,
    /// Not before so many milliseconds; not for a topic.
    delay_ms: i64,
    /// Dropped while a message with the same key waits in the queue; only for a queue.
    dedupe: Option<String>,
}

impl SendEvent {
    /// What kind of thing it is sent to, and the name of that.
    fn target(&self) -> (&'static str, &str) {
        let targets = [("queue", &self.queue), ("topic", &self.topic), ("script", &self.script)];
        let given = targets.into_iter().find_map(|(kind, name)| Some((kind, name.as_deref()?)));
        given.unwrap_or_default()
    }
}

/// What was accepted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SentEvents {
    /// The events: one, or of a topic one for each trigger that listens. Empty when
    /// nobody does, or the message was dropped because of its dedupe key.
    event_ids: Vec<String>,
}

/// How to fire a trigger.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FireTrigger {
    /// Members of the event's details, in the place of those that are made up.
    #[schema(value_type = serde_json::Map<String, Value>)]
    payload: BTreeMap<String, Verbatim>,
    /// What happened, in the place of what the trigger listens to first.
    operation: Option<String>,
}

/// Sends a message to a queue, a topic or a script. It is stored when this answers;
/// the same `Idempotency-Key` within a day gets the same answer and sends nothing.
#[utoipa::path(post, path = "/apps/{app}/events", tag = "events",
    params(("app" = String, Path, description = "The app's name")), request_body = SendEvent,
    responses((status = 202, description = "What was accepted", body = SentEvents)),
    security(("key" = ["script:write"])))]
async fn send_event(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    app: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Error> {
    let Path(app) = app.map_err(|_| Error::not_found(Resource::App))?;
    let app = orchestrator.app(&caller, &app, Capability::AppRunScripts, Resource::App).await?;
    let (head, body) = request.into_parts();
    let body = read_body(body, orchestrator.parts.request_bytes_max).await?;
    let at = orchestrator.parts.clock.now_us();
    let key = key_of_caller(&head.headers, &caller, &app.id, &body, at)?;
    let wanted: SendEvent = parsed(&body)?;
    let (accepted, sent) = orchestrator.send(&caller, &app, &wanted, key).await?;
    match accepted {
        Accepted::Stale => Err(definitions_move()),
        Accepted::Appended => Ok((StatusCode::ACCEPTED, Json(sent)).into_response()),
        Accepted::Dropped => {
            let none = SentEvents { event_ids: Vec::new() };
            Ok((StatusCode::ACCEPTED, Json(none)).into_response())
        }
        Accepted::Reused => Err(reused()),
        Accepted::Replayed(first) => {
            let answer = orchestrator.parts.store.find_first_answer(&first).await?;
            let sent: SentEvents = answer.and_then(|answer| answer.to().ok()).unwrap_or(sent);
            let mut answer = (StatusCode::ACCEPTED, Json(sent)).into_response();
            answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(answer)
        }
    }
}

/// Fires a trigger now, with an event that is made up. It is carried out like any
/// other, also when the trigger is disabled.
#[utoipa::path(post, path = "/triggers/{id}/fire", tag = "triggers",
    params(("id" = String, Path, description = "The trigger's id")), request_body = FireTrigger,
    responses((status = 202, description = "The event", body = SentEvents)),
    security(("key" = ["script:write"])))]
async fn fire_trigger(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Error> {
    let not_found = || Error::not_found(Resource::Trigger);
    let Path(id) = id.map_err(|_| not_found())?;
    let id: TriggerId = id.parse().map_err(|_| not_found())?;
    let parts = &orchestrator.parts;
    let trigger = parts.store.find_trigger(&id).await?;
    let (app_id, capability) = (&trigger.app_id, Capability::AppRunScripts);
    parts.auth.allow(&caller, app_id, capability, Resource::Trigger).await?;
    let body = read_body(request.into_body(), orchestrator.parts.request_bytes_max).await?;
    let wanted: FireTrigger = if body.is_empty() { FireTrigger::default() } else { parsed(&body)? };
    let event = orchestrator.fired(&caller, &trigger, wanted)?;
    let sent = SentEvents { event_ids: vec![event.id.to_string()] };
    let change =
        Change::new("fire_trigger", Resource::Trigger, id.as_str(), trigger.detail.kind().as_str());
    let entry = caller.entry(&parts.clock, change.in_app(&trigger.app_id).to(&sent));
    parts.store.on_behalf(entry).append_events(vec![event], None).await?;
    Ok((StatusCode::ACCEPTED, Json(sent)).into_response())
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    json::from_slice(body).map_err(|error| Error::body_invalid(&error))
}

fn checked_name<'a>(field: &str, name: &'a str) -> Result<&'a str, Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        let reason = format!("must be 1 to {NAME_BYTES_MAX} bytes without NUL");
        return Err(Error::Invalid(Refusal::field(field, &reason)));
    }
    Ok(name)
}

impl Orchestrator {
    /// Appends what is to be sent to those who listen when it is appended: a trigger that was
    /// made before hears of it, whichever node made it.
    async fn send(
        &self,
        caller: &Caller,
        app: &App,
        wanted: &SendEvent,
        key: Option<store::NewKey>,
    ) -> Result<(Accepted, SentEvents), Error> {
        let (clock, store) = (&self.parts.clock, &self.parts.store);
        let (kind, name) = wanted.target();
        for _ in 0..REMADE_MAX {
            let table = self.table().await?;
            let events = self.events_of(caller, app, wanted, &table)?;
            let event_ids = events.iter().map(|event| event.id.to_string()).collect();
            let sent = SentEvents { event_ids };
            let key = key.clone().map(|key| store::NewKey {
                answer: JsonText::of(&sent).ok(),
                answer_when_dropped: JsonText::of(&SentEvents { event_ids: Vec::new() }).ok(),
                event_id: EventId::from(clock.new_id()),
                ..key
            });
            // Not what the message holds, which is the app's.
            let change = Change::new("send_event", Resource::Event, kind, name).in_app(&app.id);
            let store = store.on_behalf(caller.entry(clock, change.to(&sent)));
            match store.append_matched_events(events, key, Some(table.revision())).await? {
                Accepted::Stale => store.definitions_are_stale(),
                accepted => return Ok((accepted, sent)),
            }
        }
        Err(definitions_move())
    }

    fn events_of(
        &self,
        caller: &Caller,
        app: &App,
        wanted: &SendEvent,
        table: &Table,
    ) -> Result<Vec<NewEvent>, Error> {
        let payload = wanted.payload.0.to_string();
        payload::check(&payload, self.parts.ceiling.value_bytes_max)?;
        if !(0..=DELAY_MS_MAX).contains(&wanted.delay_ms) {
            let refusal = Refusal::field("delay_ms", &format!("must be 0 to {DELAY_MS_MAX}"));
            return Err(Error::Invalid(refusal));
        }
        if wanted.delay_ms > 0 && wanted.topic.is_some() {
            return Err(Error::Invalid(Refusal::field("delay_ms", "is not for a topic")));
        }
        if let Some(key) = &wanted.dedupe {
            checked_name("dedupe", key)?;
            // The listeners of a topic would count as one message, and all but the
            // first be dropped.
            if wanted.queue.is_none() {
                return Err(Error::Invalid(Refusal::field("dedupe", "is for a queue only")));
            }
        }
        let principal = caller.principal.to_string();
        let common = self.by_hand(&principal, &app.id);
        let base = |kind, operation: &str, source: &str, details: &Value| {
            let mut event = common.event(kind, operation, source, details);
            event.delay_us = wanted.delay_ms * 1000;
            event.dedupe_key = wanted.dedupe.clone();
            event
        };
        match (&wanted.queue, &wanted.topic, &wanted.script) {
            (Some(queue), None, None) => {
                let queue = checked_name("queue", queue)?;
                let details = form::of_message(queue, &payload);
                let event = base(TriggerKind::Queue, "send", queue, &details);
                Ok(vec![match table.triggers().on_queue(&app.id, queue) {
                    Some(trigger) => brought_by(trigger, event),
                    None => event,
                }])
            }
            (None, Some(topic), None) => {
                let topic = checked_name("topic", topic)?;
                let details = form::of_publication(topic, &payload);
                let listeners = table.triggers().on_topic(&app.id, topic);
                Ok(listeners
                    .map(|t| brought_by(t, base(TriggerKind::Pubsub, "publish", topic, &details)))
                    .collect())
            }
            (None, None, Some(script)) => {
                let target = table
                    .find_script_by_name(&app.name, script)
                    .ok_or_else(|| Error::not_found(Resource::Script))?;
                let details = form::of_script(script, None, &payload);
                let mut event = base(TriggerKind::Script, "enqueue", script, &details);
                event.script_id = Some(target.script_id.clone());
                Ok(vec![event])
            }
            _ => {
                let message = "give exactly one of queue, topic and script";
                Err(Error::Invalid(Refusal::new("request_invalid", message)))
            }
        }
    }

    /// The event that a trigger could have been fired by.
    fn fired(
        &self,
        caller: &Caller,
        trigger: &Trigger,
        wanted: FireTrigger,
    ) -> Result<NewEvent, Error> {
        let now = self.parts.clock.now_us();
        let (operation, source, mut details) = made_up(&trigger.detail, now);
        if let Value::Object(details) = &mut details {
            details.extend(wanted.payload.into_iter().map(|(name, value)| (name, value.0)));
        }
        let kind = trigger.detail.kind();
        payload::check_details(kind, &details, self.parts.ceiling.value_bytes_max)?;
        let operation = wanted.operation.unwrap_or(operation);
        checked_name("operation", &operation)?;
        let principal = caller.principal.to_string();
        let common = self.by_hand(&principal, &trigger.app_id);
        Ok(common.by_trigger(trigger, &operation, &source, &details))
    }

    fn by_hand<'a>(&'a self, principal: &'a str, app_id: &'a store::AppId) -> Common<'a> {
        Common {
            clock: &self.parts.clock,
            app_id,
            principal,
            depth: 1,
            caused_by: None,
            created_at: self.parts.clock.now_us(),
        }
    }
}

/// Operation, source and details of an event that was never there.
fn made_up(detail: &TriggerDetail, now: i64) -> (String, String, Value) {
    let first = |operations: &store::Operations| {
        let operations = Vec::from(operations.clone());
        operations.first().map_or("update", |operation| operation.as_str()).to_owned()
    };
    match detail {
        TriggerDetail::Kv { collection, operations } => {
            (first(operations), collection.clone(), form::of_key(collection, "example", None))
        }
        TriggerDetail::Cron { expression, zone, .. } => {
            ("fire".to_owned(), expression.clone(), form::of_schedule(expression, zone, now))
        }
        TriggerDetail::Queue { queue } => {
            ("send".to_owned(), queue.clone(), form::of_message(queue, "null"))
        }
        TriggerDetail::Pubsub { topic } => {
            ("publish".to_owned(), topic.clone(), form::of_publication(topic, "null"))
        }
        TriggerDetail::Email { address } => {
            ("receive".to_owned(), address.clone(), json!({ "to": address }))
        }
        TriggerDetail::Files { bucket, path, operations } => {
            (first(operations), bucket.clone(), form::of_file(bucket, path, None))
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
