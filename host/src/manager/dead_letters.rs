//! `/apps/{app}/dead-letters` and `/dead-letters/{id}`: events whose attempts are used up.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Body, Path, Query};
use super::lists::{List, PageQuery};
use super::omitted::is_default;
use super::outbox::shown_payload;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::events::{payload, replayed};
use crate::json::Verbatim;
use crate::requests;
use crate::store::{
    self, AppId, DeadLetterFilter, DeadLetterId, EXCERPT_BYTES_MAX, Excerpt, NewEvent, Resolution,
    Resource, TriggerKind,
};

/// The most dead letters that one bulk request handles.
pub(super) const BULK_MAX: i64 = 200;

/// A dead letter.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct DeadLetter {
    /// The dead letter's id.
    pub id: String,
    /// The id of the failed event.
    pub event_id: String,
    /// The kind of event.
    #[schema(value_type = TriggerKind)]
    pub kind: Extensible<TriggerKind>,
    /// The operation that caused the event.
    pub operation: String,
    /// The queue, topic, collection or bucket of the event.
    pub source: String,
    /// The id of the trigger that the event matched.
    pub trigger_id: Option<String>,
    /// The id of the script that failed.
    pub script_id: String,
    /// The script's name at that time.
    pub script: String,
    /// The version of the last attempt.
    pub script_version: i64,
    /// The payload of the event, as the script saw it under the name of its kind. Lists omit
    /// payloads of more than 4 KiB, see `payload_is_left_out`.
    #[schema(value_type = Value)]
    pub payload: Verbatim,
    /// The size of the stored payload, in bytes.
    pub payload_bytes: i64,
    /// Whether `payload` is `null` because it is large. `GET /dead-letters/{id}` returns it.
    pub payload_is_left_out: bool,
    /// The number of attempts.
    pub attempts: i64,
    /// When the first attempt began, in microseconds since 1970.
    pub first_attempt_at: i64,
    /// When the last attempt began, in microseconds since 1970.
    pub last_attempt_at: i64,
    /// The error of the last attempt.
    pub last_error: String,
    /// `replayed`, `ignored`, `handled_by_script` or `handler_failed`; `null` while unresolved.
    #[schema(value_type = Option<Resolution>)]
    pub resolution: Option<Extensible<Resolution>>,
    /// When it was resolved, in microseconds since 1970.
    pub resolved_at: Option<i64>,
    /// When the event was accepted, in microseconds since 1970.
    pub event_created_at: i64,
    /// When the event became a dead letter, in microseconds since 1970.
    pub created_at: i64,
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
            kind: letter.kind.into(),
            operation: letter.operation,
            source: letter.source,
            trigger_id: letter.trigger_id.map(Into::into),
            script_id: letter.script_id.into(),
            script: letter.script_name,
            script_version: letter.script_version,
            payload: Verbatim(match payload_is_left_out {
                true => Value::Null,
                false => shown_payload(letter.kind, &letter.payload),
            }),
            payload_bytes,
            payload_is_left_out,
            attempts: letter.attempts,
            first_attempt_at: letter.first_attempt_at,
            last_attempt_at: letter.last_attempt_at,
            last_error: letter.last_error,
            resolution: letter.resolution.map(Into::into),
            resolved_at: letter.resolved_at,
            event_created_at: letter.event_created_at,
            created_at: letter.created_at,
        }
    }
}

/// Filters for dead letters.
#[derive(Debug, Default, PartialEq, Deserialize, Serialize, IntoParams, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersQuery {
    /// Only unresolved dead letters. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unresolved: Option<bool>,
    /// Only events of this kind.
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<TriggerKind>,
    /// Only events of the script with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_id: Option<String>,
    /// Only events by the trigger with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_id: Option<String>,
    /// Number of items to return, 1 to 200. Default: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Cursor: the `next_after` of a previous response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Number of items to skip, at most 10,000. Cannot be combined with `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
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

/// A number of dead letters.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct DeadLetterCount {
    /// The number; 10,000 means 10,000 or more.
    pub count: i64,
}

/// Options for replaying a dead letter.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayDeadLetter {
    /// Whether to run the version that failed. Default: the version that is deployed now.
    pub same_version: bool,
    /// A payload that replaces the one that failed.
    #[schema(value_type = Option<Value>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Verbatim>,
}

/// The event that a replay created.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct ReplayedDeadLetter {
    /// The id of the new event.
    pub event_id: String,
}

/// The dead letters of a bulk request, and its options.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkDeadLetters {
    /// The dead letters to process: the newest ones that match, at most 200 for each request.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: DeadLettersQuery,
    /// For a replay: whether to run the versions that failed. Default: those that are deployed now.
    #[serde(default, skip_serializing_if = "is_default")]
    pub same_version: bool,
}

/// The result of a bulk request.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct BulkDone {
    /// The number of dead letters processed.
    pub done: i64,
    /// Unresolved dead letters that still match; 10,000 means 10,000 or more. Repeat the request.
    pub left: i64,
}

/// Lists an app's dead letters, newest first. Payloads of more than 4 KiB are omitted.
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
    let page = PageQuery::of_growing(query.limit, query.offset)?;
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
    PageQuery::of_growing(query.limit, query.offset)?.part("after", query.after.as_deref())?;
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

/// Finds a dead letter and checks that the caller has the capability in its app.
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

/// Enqueues the event of a dead letter again. Each dead letter can be replayed once.
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

/// Enqueues the events of many dead letters again.
#[utoipa::path(post, path = "/apps/{app}/dead-letters/replay", tag = "dead letters",
    params(("app" = String, Path, description = "The app's name")), request_body = BulkDeadLetters,
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "The number of processed dead letters", body = BulkDone)))]
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
    responses((status = 200, description = "The number of processed dead letters", body = BulkDone)))]
pub(super) async fn resolve_dead_letters(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<BulkDeadLetters>,
) -> Result<Json<BulkDone>> {
    let app = control_plane.app(&caller, &name, Capability::AppDeadLetterManage).await?;
    bulk(&control_plane, &caller, &app.id, &body.read()?.filter, Action::Ignore).await
}

/// Returns the audit entry for an action on a dead letter.
fn dealt_with(action: &'static str, letter: &store::DeadLetter) -> Change {
    Change::new(action, Resource::DeadLetter, letter.id.as_str(), &letter.script_name)
        .in_app(&letter.app_id)
        .from(&json!({ "resolution": letter.resolution, "event_id": letter.event_id }))
}

/// The action of a bulk request.
#[derive(Clone, Copy)]
enum Action {
    Replay { same_version: bool },
    Ignore,
}

/// Processes the dead letters that match the query, one by one. Skips those that another request
/// resolved in the meantime.
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
        PageQuery::of_growing(Some(limit), Some(offset))?.part("after", query.after.as_deref())?;
    let part = store::Part { page: store::Page { limit, offset }, ..part };
    let mut done = 0;
    for letter in control_plane.store.list_dead_letters(app_id, &filter, part).await?.rows {
        let id = letter.id.clone();
        let store = |action| control_plane.change(caller, dealt_with(action, &letter));
        let done_with_it = match action {
            Action::Replay { same_version } => {
                let store = store("replay_dead_letter");
                // The list can lack the payload. Loading one at a time also bounds the memory.
                let letter = match control_plane.store.find_dead_letter(&id).await {
                    Ok(letter) => letter,
                    Err(store::Error::NotFound(_)) => continue,
                    Err(error) => return Err(error.into()),
                };
                match event_again(control_plane, letter, same_version, None).await {
                    Ok(event) => store.replay_dead_letter(&id, event).await,
                    // The caller must send the credentials again, or the event is too deep.
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

/// Builds the event that replays a dead letter, with another payload if one is given.
async fn event_again(
    control_plane: &ControlPlane,
    letter: store::DeadLetter,
    same_version: bool,
    edited: Option<&Value>,
) -> Result<NewEvent> {
    let place = (&control_plane.secrets, &control_plane.clock);
    let payload = match (letter.kind, edited) {
        (TriggerKind::Http, _) => {
            requests::again(place, &letter.app_id, &letter.payload, edited).await?
        }
        (_, Some(edited)) => store::Json::from_text(edited.to_string()),
        (_, None) => letter.payload.clone(),
    };
    replayed(&control_plane.clock, letter, payload, same_version, control_plane.depth_max)
}

fn check_edited(control_plane: &ControlPlane, kind: TriggerKind, payload: &Value) -> Result<()> {
    if !payload.is_object() {
        return Err(Error::Invalid(Refusal::field("payload", "must be an object")));
    }
    let most = control_plane.ceiling.value_bytes_max;
    payload::check_details(kind, payload, most).map_err(Error::from)
}
