//! `/apps/{app}/dead-letters` and `/dead-letters/{id}`: events that were given up.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use super::outbox::shown_payload;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::events::{Common, payload};
use crate::json::Verbatim;
use crate::requests;
use crate::store::{
    self, AppId, DeadLetterFilter, DeadLetterId, EXCERPT_BYTES_MAX, Excerpt, NewEvent, Resolution,
    Resource, TriggerKind,
};

/// How many dead letters one call in bulk deals with at most.
pub(super) const BULK_MAX: i64 = 200;

/// A dead letter.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetter {
    /// Its id.
    id: String,
    /// The event that was given up.
    event_id: String,
    /// The kind of event.
    kind: TriggerKind,
    /// What had happened.
    operation: String,
    /// The queue, topic, collection or bucket that the event came by.
    source: String,
    /// The trigger that the event came by.
    trigger_id: Option<String>,
    /// The script that failed.
    script_id: String,
    /// Its name at that time.
    script: String,
    /// The version that failed last.
    script_version: i64,
    /// The details of the event, as the script saw them under the name of its kind. A list
    /// leaves out those of more than 4 KiB, see `payload_is_left_out`.
    payload: Value,
    /// The size of the details as they are stored, in bytes.
    payload_bytes: i64,
    /// Whether `payload` is `null` because it is large: `GET /dead-letters/{id}` has it.
    payload_is_left_out: bool,
    /// How often it was attempted.
    attempts: i64,
    /// When the first attempt began, in microseconds since 1970.
    first_attempt_at: i64,
    /// When the last attempt began, in microseconds since 1970.
    last_attempt_at: i64,
    /// Why the last attempt failed.
    last_error: String,
    /// `replayed`, `ignored`, `handled_by_script`, `handler_failed`; `null` until then.
    resolution: Option<Resolution>,
    /// When that was, in microseconds since 1970.
    resolved_at: Option<i64>,
    /// When the event was accepted, in microseconds since 1970.
    event_created_at: i64,
    /// When it was given up, in microseconds since 1970.
    created_at: i64,
}

impl From<store::DeadLetter> for DeadLetter {
    fn from(letter: store::DeadLetter) -> Self {
        let bytes = letter.payload.as_str().len();
        Self::of(Excerpt::whole(letter, bytes), false)
    }
}

impl From<Excerpt<store::DeadLetter>> for DeadLetter {
    fn from(letter: Excerpt<store::DeadLetter>) -> Self {
        let is_left_out = letter.full_bytes > EXCERPT_BYTES_MAX;
        Self::of(letter, is_left_out)
    }
}

impl DeadLetter {
    fn of(letter: Excerpt<store::DeadLetter>, payload_is_left_out: bool) -> Self {
        let Excerpt { row: letter, full_bytes: payload_bytes } = letter;
        Self {
            id: letter.id.into(),
            event_id: letter.event_id.into(),
            kind: letter.kind,
            operation: letter.operation,
            source: letter.source,
            trigger_id: letter.trigger_id.map(Into::into),
            script_id: letter.script_id.into(),
            script: letter.script_name,
            script_version: letter.script_version,
            payload: match payload_is_left_out {
                true => Value::Null,
                false => shown_payload(letter.kind, &letter.payload),
            },
            payload_bytes,
            payload_is_left_out,
            attempts: letter.attempts,
            first_attempt_at: letter.first_attempt_at,
            last_attempt_at: letter.last_attempt_at,
            last_error: letter.last_error,
            resolution: letter.resolution,
            resolved_at: letter.resolved_at,
            event_created_at: letter.event_created_at,
            created_at: letter.created_at,
        }
    }
}

/// Which dead letters.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersQuery {
    /// Only those that nothing has become of yet; yes when left out.
    unresolved: Option<bool>,
    /// Only events of this kind.
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    kind: Option<TriggerKind>,
    /// Only events of the script with this id.
    script_id: Option<String>,
    /// Only events by the trigger with this id.
    trigger_id: Option<String>,
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// Only what is behind this place: the `next_after` of an earlier answer.
    after: Option<String>,
    /// Number of items to skip, at most 10,000; not together with `after`.
    offset: Option<i64>,
}

impl DeadLettersQuery {
    fn filter(&self) -> Result<DeadLetterFilter> {
        let script_id = self.script_id.as_deref().map(str::parse).transpose();
        let trigger_id = self.trigger_id.as_deref().map(str::parse).transpose();
        Ok(DeadLetterFilter {
            unresolved: self.unresolved.unwrap_or(true),
            kind: self.kind,
            script_id: script_id.map_err(|_| Error::not_found(Resource::Script))?,
            trigger_id: trigger_id.map_err(|_| Error::not_found(Resource::Trigger))?,
        })
    }
}

/// How many there are.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterCount {
    /// As many; 10,000 stands for 10,000 or more.
    count: i64,
}

/// How to try an event again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayDeadLetter {
    /// Run the version that failed; otherwise the one that runs now.
    same_version: bool,
    /// Another payload in the place of the one that failed.
    #[schema(value_type = Option<Value>)]
    payload: Option<Verbatim>,
}

/// What was enqueued.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayedDeadLetter {
    /// The new event.
    event_id: String,
}

/// What to do with many.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkDeadLetters {
    /// Which ones; at most 200 at once, the newest first.
    #[serde(default)]
    filter: DeadLettersQuery,
    /// Run the versions that failed; otherwise those that run now. For a replay.
    #[serde(default)]
    same_version: bool,
}

/// What was done with many.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkDone {
    /// How many were dealt with.
    done: i64,
    /// How many of the filter are left unresolved, 10,000 for 10,000 or more: ask again.
    left: i64,
}

/// Lists an app's dead letters, newest first. Payloads of more than 4 KiB are left out.
#[utoipa::path(get, path = "/apps/{app}/dead-letters", tag = "dead letters",
    params(("app" = String, Path, description = "The app's name"), DeadLettersQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of dead letters", body = List<DeadLetter>)))]
pub(super) async fn list_dead_letters(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<Json<List<DeadLetter>>> {
    let page = Page::of_growing(query.limit, query.offset)?;
    let part = page.part("after", query.after.as_deref())?;
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    let filter = query.filter()?;
    let rows = control_plane.store.list_dead_letters(&app.id, &filter, part).await?;
    let position = |row: &Excerpt<store::DeadLetter>| store::Position {
        at: row.created_at,
        id: row.id.as_str().to_owned(),
    };
    Ok(Json(page.listed(rows, position, DeadLetter::from)))
}

/// Counts an app's dead letters.
#[utoipa::path(get, path = "/apps/{app}/dead-letters/count", tag = "dead letters",
    params(("app" = String, Path, description = "The app's name"), DeadLettersQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "The count", body = DeadLetterCount)))]
pub(super) async fn count_dead_letters(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<Json<DeadLetterCount>> {
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    Page::of_growing(query.limit, query.offset)?.part("after", query.after.as_deref())?;
    let count = control_plane.store.count_dead_letters(&app.id, &query.filter()?).await?;
    Ok(Json(DeadLetterCount { count }))
}

/// Shows a dead letter.
#[utoipa::path(get, path = "/dead-letters/{id}", tag = "dead letters",
    params(("id" = String, Path, description = "The dead letter's id")),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "The dead letter", body = DeadLetter)))]
pub(super) async fn get_dead_letter(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<DeadLetterId>,
) -> Result<Json<DeadLetter>> {
    Ok(Json(letter(&control_plane, &caller, &id, Capability::AppReadLogs).await?.into()))
}

/// The dead letter of that id, if the caller may do this in its app.
async fn letter(
    control_plane: &ControlPlane,
    caller: &Caller,
    id: &DeadLetterId,
    capability: Capability,
) -> Result<store::DeadLetter> {
    let letter = control_plane.store.find_dead_letter(id).await?;
    let (auth, resource) = (&control_plane.auth, Resource::DeadLetter);
    auth.allow(caller, &letter.app_id, capability, resource).await?;
    Ok(letter)
}

/// Enqueues the event of a dead letter anew. Each can be replayed once.
#[utoipa::path(post, path = "/dead-letters/{id}/replay", tag = "dead letters",
    params(("id" = String, Path, description = "The dead letter's id")),
    request_body = ReplayDeadLetter,
    security(("key" = ["app:admin"])),
    responses((status = 202, description = "The new event", body = ReplayedDeadLetter)))]
pub(super) async fn replay_dead_letter(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<DeadLetterId>,
    body: Body<ReplayDeadLetter>,
) -> Result<(axum::http::StatusCode, Json<ReplayedDeadLetter>)> {
    let capability = Capability::AppDeadLetterManage;
    let letter = letter(&control_plane, &caller, &id, capability).await?;
    let body = body.read()?;
    let change = dealt_with("replay_dead_letter", &letter)
        .to(&json!({ "same_version": body.same_version, "edited": body.payload.is_some() }));
    let payload = body.payload.as_ref().map(|payload| &payload.0);
    payload.map_or(Ok(()), |payload| check_edited(&control_plane, letter.kind, payload))?;
    let event = event_again(&control_plane, letter, body.same_version, payload).await?;
    let event_id = event.id.to_string();
    control_plane.change(&caller, change).replay_dead_letter(&id, event).await?;
    Ok((axum::http::StatusCode::ACCEPTED, Json(ReplayedDeadLetter { event_id })))
}

/// Marks a dead letter as ignored.
#[utoipa::path(post, path = "/dead-letters/{id}/resolve", tag = "dead letters",
    params(("id" = String, Path, description = "The dead letter's id")),
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "The dead letter", body = DeadLetter)))]
pub(super) async fn resolve_dead_letter(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<DeadLetterId>,
) -> Result<Json<DeadLetter>> {
    let capability = Capability::AppDeadLetterManage;
    let letter = letter(&control_plane, &caller, &id, capability).await?;
    let store = control_plane.change(&caller, dealt_with("resolve_dead_letter", &letter));
    store.ignore_dead_letter(&id, control_plane.clock.now_us()).await?;
    Ok(Json(control_plane.store.find_dead_letter(&id).await?.into()))
}

/// Enqueues the events of many dead letters anew.
#[utoipa::path(post, path = "/apps/{app}/dead-letters/replay", tag = "dead letters",
    params(("app" = String, Path, description = "The app's name")), request_body = BulkDeadLetters,
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "How many", body = BulkDone)))]
pub(super) async fn replay_dead_letters(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<BulkDeadLetters>,
) -> Result<Json<BulkDone>> {
    let app = control_plane.app(&caller, &name, Capability::AppDeadLetterManage).await?;
    let body = body.read()?;
    let action = Action::Replay { same_version: body.same_version };
    bulk(&control_plane, &caller, &app.id, &body.filter, action).await
}

/// Marks many dead letters as ignored.
#[utoipa::path(post, path = "/apps/{app}/dead-letters/resolve", tag = "dead letters",
    params(("app" = String, Path, description = "The app's name")), request_body = BulkDeadLetters,
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "How many", body = BulkDone)))]
pub(super) async fn resolve_dead_letters(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<BulkDeadLetters>,
) -> Result<Json<BulkDone>> {
    let app = control_plane.app(&caller, &name, Capability::AppDeadLetterManage).await?;
    bulk(&control_plane, &caller, &app.id, &body.read()?.filter, Action::Ignore).await
}

/// The change that dealing with a dead letter is.
fn dealt_with(action: &'static str, letter: &store::DeadLetter) -> Change {
    Change::new(action, Resource::DeadLetter, letter.id.as_str(), &letter.script_name)
        .in_app(&letter.app_id)
        .from(&json!({ "resolution": letter.resolution, "event_id": letter.event_id }))
}

/// What is done with many.
#[derive(Clone, Copy)]
enum Action {
    Replay { same_version: bool },
    Ignore,
}

/// Deals with what a filter finds, one after the other. One that somebody else has
/// dealt with meanwhile is left out.
async fn bulk(
    control_plane: &ControlPlane,
    caller: &Caller,
    app_id: &AppId,
    query: &DeadLettersQuery,
    action: Action,
) -> Result<Json<BulkDone>> {
    let filter = query.filter()?;
    let limit = query.limit.unwrap_or(BULK_MAX);
    if !(1..=BULK_MAX).contains(&limit) {
        let refusal = Refusal::field("limit", &format!("must be 1 to {BULK_MAX}"));
        return Err(Error::Invalid(refusal.with("most", BULK_MAX)));
    }
    let offset = query.offset.unwrap_or(0);
    let part =
        Page::of_growing(Some(limit), Some(offset))?.part("after", query.after.as_deref())?;
    let part = store::Part { page: store::Page { limit, offset }, ..part };
    let mut done = 0;
    for letter in control_plane.store.list_dead_letters(app_id, &filter, part).await?.rows {
        let id = letter.id.clone();
        let store = |action| control_plane.change(caller, dealt_with(action, &letter));
        let done_with_it = match action {
            Action::Replay { same_version } => {
                let store = store("replay_dead_letter");
                // The list may lack its payload, and one by one they fit into memory.
                let letter = match control_plane.store.find_dead_letter(&id).await {
                    Ok(letter) => letter,
                    Err(store::Error::NotFound(_)) => continue,
                    Err(error) => return Err(error.into()),
                };
                match event_again(control_plane, letter, same_version, None).await {
                    Ok(event) => store.replay_dead_letter(&id, event).await,
                    // Somebody has to give its credentials again, or it is too deep.
                    Err(Error::Conflict(_)) => continue,
                    Err(error) => return Err(error),
                }
            }
            Action::Ignore => {
                store("resolve_dead_letter")
                    .ignore_dead_letter(&id, control_plane.clock.now_us())
                    .await
            }
        };
        match done_with_it {
            Ok(()) => done += 1,
            Err(store::Error::Conflict(_) | store::Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let unresolved = DeadLetterFilter { unresolved: true, ..filter };
    let left = control_plane.store.count_dead_letters(app_id, &unresolved).await?;
    Ok(Json(BulkDone { done, left }))
}

/// The event of a dead letter, to be accepted anew, with another payload if there is one.
async fn event_again(
    control_plane: &ControlPlane,
    letter: store::DeadLetter,
    same_version: bool,
    edited: Option<&Value>,
) -> Result<NewEvent> {
    if letter.depth > control_plane.depth_max {
        let refusal = Refusal::new("event_too_deep", "a chain of triggers led to this event");
        let refusal = refusal.with("limit", "trigger_depth").with("used", letter.depth);
        return Err(Error::Conflict(refusal.with("most", control_plane.depth_max)));
    }
    let place = (&control_plane.secrets, &control_plane.clock);
    let payload = match (letter.kind, edited) {
        (TriggerKind::Http, _) => {
            requests::again(place, &letter.app_id, &letter.payload, edited).await?
        }
        (_, Some(edited)) => store::Json::from_text(edited.to_string()),
        (_, None) => letter.payload.clone(),
    };
    let common = Common {
        clock: &control_plane.clock,
        app_id: &letter.app_id,
        principal: &letter.principal,
        depth: letter.depth,
        caused_by: None,
        created_at: control_plane.clock.now_us(),
    };
    let mut event = common.stored(letter.kind, &letter.operation, &letter.source, payload);
    event.trigger_id = letter.trigger_id;
    event.script_version = same_version.then_some(letter.script_version);
    event.script_id = Some(letter.script_id);
    Ok(event)
}

fn check_edited(control_plane: &ControlPlane, kind: TriggerKind, payload: &Value) -> Result<()> {
    if !payload.is_object() {
        return Err(Error::Invalid(Refusal::field("payload", "must be an object")));
    }
    let most = control_plane.ceiling.value_bytes_max;
    payload::check_details(kind, payload, most).map_err(Error::from)
}
