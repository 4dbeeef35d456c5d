//! Events sent through the API, and triggers fired by hand.

mod cancel;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ControlPlane;
use super::extract::{Path, parsed};
use crate::auth::{Caller, Capability, Change, Via};
use crate::definitions::{REMADE_MAX, Table, definitions_move};
use crate::error::{Error, Refusal, Result};
use crate::events::causes::Cause;
use crate::events::sent::{Enqueued, Message, Sent};
use crate::events::{Common, Fired, rules};
use crate::json::Verbatim;
use crate::requests::idempotency::{REPLAYED, fingerprint, key_in, new_key, reused};
use crate::serving::read_body;
use crate::store::{Accepted, App, AppId, EventId, Json as JsonText, NewKey, Resource, TriggerId};
pub use cancel::PurgedOutbox;

/// The endpoints, below `/api/v1`.
pub(super) fn api() -> OpenApiRouter<ControlPlane> {
    let own = OpenApiRouter::new().routes(routes!(send_event)).routes(routes!(fire_trigger));
    own.merge(cancel::api())
}

/// A message from outside of a script. Exactly one of `queue`, `topic` and `script` names its
/// target.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SendEvent {
    /// A queue. Its trigger gets the message, even one that is created later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// A topic. Every trigger on it gets the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The name of a script to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// The payload.
    #[schema(value_type = Value)]
    pub payload: Verbatim,
    /// The delay before the event is due, in milliseconds; not for a topic.
    pub delay_ms: i64,
    /// Drops the message while another with the same key is pending; only for a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<String>,
}

/// The accepted events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SentEvents {
    /// The ids of the events: one, or for a topic one for each trigger on it. Empty if no
    /// trigger is on the topic, or if the dedupe key dropped the message.
    pub event_ids: Vec<String>,
}

/// How to fire a trigger.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FireTrigger {
    /// Members that replace those of the made-up event's details.
    #[schema(value_type = serde_json::Map<String, Value>)]
    pub payload: BTreeMap<String, Verbatim>,
    /// The operation. The default is the first one that the trigger fires on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

/// Sends a message to a queue, a topic or a script. The response confirms that it is stored.
/// A request with the same `Idempotency-Key` within a day gets the same response and sends
/// nothing.
#[utoipa::path(post, path = "/apps/{app}/events", tag = "events",
    params(("app" = String, Path, description = "The app's name")), request_body = SendEvent,
    responses((status = 202, description = "The accepted events", body = SentEvents)),
    security(("key" = ["script:write"])))]
async fn send_event(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(app): Path<String>,
    request: Request,
) -> Result<Response> {
    let app = control_plane.app(&caller, &app, Capability::AppRunScripts).await?;
    let (head, body) = request.into_parts();
    let body = read_body(body, control_plane.request_bytes_max).await?;
    let at = control_plane.clock.now_us();
    let key = key_of_caller(&head.headers, &caller, &app.id, &body, at)?;
    let wanted: SendEvent = parsed(&body)?;
    let (accepted, sent) = control_plane.send(&caller, &app, wanted, key).await?;
    match accepted {
        Accepted::Stale => Err(definitions_move()),
        Accepted::Appended => Ok((StatusCode::ACCEPTED, Json(sent)).into_response()),
        Accepted::Dropped => {
            let none = SentEvents { event_ids: Vec::new() };
            Ok((StatusCode::ACCEPTED, Json(none)).into_response())
        }
        Accepted::Reused => Err(reused()),
        Accepted::Replayed(first) => {
            let answer = control_plane.store.find_first_answer(&first).await?;
            let sent: SentEvents = answer.and_then(|answer| answer.to().ok()).unwrap_or(sent);
            let mut answer = (StatusCode::ACCEPTED, Json(sent)).into_response();
            answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(answer)
        }
    }
}

/// Fires a trigger now with a made-up event, which runs like any other, even if the trigger is
/// disabled.
#[utoipa::path(post, path = "/triggers/{id}/fire", tag = "triggers",
    params(("id" = String, Path, description = "The trigger's id")), request_body = FireTrigger,
    responses((status = 202, description = "The event", body = SentEvents)),
    security(("key" = ["script:write"])))]
async fn fire_trigger(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<TriggerId>,
    request: Request,
) -> Result<Response> {
    let trigger = control_plane.store.find_trigger(&id).await?;
    let (app_id, capability) = (&trigger.app_id, Capability::AppRunScripts);
    control_plane.auth.allow(&caller, app_id, capability, Resource::Trigger).await?;
    let body = read_body(request.into_body(), control_plane.request_bytes_max).await?;
    let FireTrigger { payload, operation } =
        if body.is_empty() { FireTrigger::default() } else { parsed(&body)? };
    let members = payload.into_iter().map(|(name, value)| (name, value.0)).collect();
    let fired = Fired { operation, members };
    let now = control_plane.clock.now_us();
    let principal = caller.principal.to_string();
    let common = Common {
        clock: &control_plane.clock,
        app_id,
        principal: &principal,
        depth: 1,
        caused_by: None,
        created_at: now,
    };
    let event = common.fired(&trigger, fired, control_plane.ceiling.value_bytes_max)?;
    let sent = SentEvents { event_ids: vec![event.id.to_string()] };
    let kind = trigger.detail.kind().as_str();
    let change = Change::new("fire_trigger", Resource::Trigger, id.as_str(), kind);
    let store = control_plane.change(&caller, change.in_app(app_id).to(&sent));
    store.append_events(vec![event], None).await?;
    Ok((StatusCode::ACCEPTED, Json(sent)).into_response())
}

/// Returns the idempotency key of a request to the API.
///
/// # Errors
/// Same as [`key_in`].
fn key_of_caller(
    headers: &HeaderMap,
    caller: &Caller,
    app_id: &AppId,
    body: &[u8],
    at: i64,
) -> Result<Option<NewKey>> {
    let Some(key) = key_in(headers)? else { return Ok(None) };
    let with = match &caller.via {
        Via::ApiKey(grant) => grant.id.as_str(),
        Via::OwnerKey | Via::Session(_) => "",
    };
    let scope = format!("events {} {with}", caller.principal);
    Ok(Some(new_key(app_id, scope, key, fingerprint(&[], body), at)))
}

/// The target of a message.
enum To {
    Queue(String),
    Topic(String),
    Script(String),
}

impl To {
    fn kind(&self) -> &'static str {
        match self {
            Self::Queue(_) => "queue",
            Self::Topic(_) => "topic",
            Self::Script(_) => "script",
        }
    }

    fn name(&self) -> &str {
        let (Self::Queue(name) | Self::Topic(name) | Self::Script(name)) = self;
        name
    }
}

impl SendEvent {
    /// Returns the target. Also checks the fields that only some targets have.
    fn target(&mut self) -> Result<To> {
        let to = match (self.queue.take(), self.topic.take(), self.script.take()) {
            (Some(queue), None, None) => To::Queue(queue),
            (None, Some(topic), None) => To::Topic(topic),
            (None, None, Some(script)) => To::Script(script),
            _ => {
                let message = "give exactly one of queue, topic and script";
                return Err(Error::Invalid(Refusal::new("request_invalid", message)));
            }
        };
        let refused = |field, reason| Err(Error::Invalid(Refusal::field(field, reason)));
        rules::check_delay(self.delay_ms)?;
        match &to {
            To::Topic(_) if self.delay_ms > 0 => refused("delay_ms", "is not allowed for a topic"),
            // All events of a topic would share the key, and all but one would be dropped.
            To::Topic(_) | To::Script(_) if self.dedupe.is_some() => {
                refused("dedupe", "is allowed only for a queue")
            }
            _ => Ok(to),
        }
    }
}

impl ControlPlane {
    /// Appends the events of a message, for the triggers that exist at the time of the commit on
    /// any node.
    async fn send(
        &self,
        caller: &Caller,
        app: &App,
        mut wanted: SendEvent,
        key: Option<NewKey>,
    ) -> Result<(Accepted, SentEvents)> {
        let principal = caller.principal.to_string();
        let to = wanted.target()?;
        let cause = Cause {
            app_id: &app.id,
            app: &app.name,
            script: None,
            execution_id: None,
            depth: 0,
            principal: &principal,
            clock: &self.clock,
            at: self.clock.now_us(),
        };
        for _ in 0..REMADE_MAX {
            let table = self.definitions.table().await?;
            let message = self.message(app, &to, &wanted, &table)?;
            let events = cause.sent(&message, &table);
            let event_ids = events.iter().map(|event| event.id.to_string()).collect();
            let sent = SentEvents { event_ids };
            let key = key.clone().map(|key| NewKey {
                answer: JsonText::of(&sent).ok(),
                answer_when_dropped: JsonText::of(&SentEvents { event_ids: Vec::new() }).ok(),
                event_id: EventId::from(self.clock.new_id()),
                ..key
            });
            // Without the payload, which belongs to the app.
            let change = Change::new("send_event", Resource::Event, to.kind(), to.name());
            let store = self.change(caller, change.in_app(&app.id).to(&sent));
            match store.append_matched_events(events, key, Some(table.revision())).await? {
                Accepted::Stale => store.definitions_are_stale(),
                accepted => return Ok((accepted, sent)),
            }
        }
        Err(definitions_move())
    }

    fn message(&self, app: &App, to: &To, wanted: &SendEvent, table: &Table) -> Result<Sent> {
        let bytes_max = self.ceiling.value_bytes_max;
        let (payload, delay_ms) = (wanted.payload.0.to_string(), wanted.delay_ms);
        let id = EventId::from(self.clock.new_id());
        Ok(match to {
            To::Queue(queue) => {
                let (queue, dedupe) = (queue.clone(), wanted.dedupe.clone());
                Sent::to_queue(Message { id, queue, payload, delay_ms, dedupe }, bytes_max)?
            }
            To::Topic(topic) => Sent::to_topic(topic.clone(), payload, bytes_max)?,
            To::Script(script) => {
                let target = table.find_script_by_name(&app.name, script);
                let target = target.ok_or_else(|| Error::not_found(Resource::Script))?;
                let (script_id, script) = (target.script_id.clone(), script.clone());
                Sent::to_script(Enqueued { id, script_id, script, payload, delay_ms }, bytes_max)?
            }
        })
    }
}
