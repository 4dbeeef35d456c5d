//! `/apps/{app}/triggers` and `/triggers/{id}`: the events that make a script run.

mod shape;

use std::borrow::Cow;
use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Body, Path, Query};
use super::lists::{List, PageQuery};
use super::omitted::is_default;
use crate::auth::{Caller, Capability, Change, StopReason, stop_reason};
use crate::cron::{Dst, Schedule};
use crate::error::{Error, Result};
use crate::store::{
    self, Resource, ScriptId, TriggerChange, TriggerDetail, TriggerId, TriggerKind,
};

pub(super) use shape::{ATTEMPTS_MAX, WAIT_MS_MAX, parse_schedule};
pub use shape::{On, Retry};

/// The number of upcoming firings that are shown.
pub(super) const NEXT_RUNS: usize = 5;
/// A trigger.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Trigger {
    /// The trigger's id.
    pub id: String,
    /// The id of the script that it runs.
    pub script_id: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The event that it fires on.
    #[schema(value_type = On)]
    pub on: Extensible<On>,
    /// The retry policy.
    #[schema(value_type = Retry)]
    pub retry: Extensible<Retry>,
    /// For a schedule: the next five firings, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_runs: Option<Vec<i64>>,
    /// For a schedule that an older release accepted and that would be refused today: the error. It
    /// keeps firing as before; `next_runs` shows when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_warning: Option<String>,
    /// The last execution it started; `null` if that is not among the last 5,000 of its script.
    pub last_execution: Option<LastExecution>,
    /// The principal that the script runs as: `owner`, or `user:` and an id.
    pub registered_by: String,
    /// The name of that principal; `null` if it is not a user.
    pub registered_by_name: Option<String>,
    /// Why it does not fire although it is enabled; `null` if nothing stops it. It fires again when
    /// the reason no longer applies, or when another user saves it.
    pub stopped: Option<Stopped>,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
    /// When it was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

/// The reason why a trigger has stopped.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Stopped {
    /// `registrant_gone`, `registrant_disabled` or `registrant_not_allowed`.
    #[schema(value_type = String)]
    pub reason: Cow<'static, str>,
    /// The reason as a text.
    pub message: String,
}

impl From<StopReason> for Stopped {
    fn from(reason: StopReason) -> Self {
        Self { reason: reason.as_str().into(), message: reason.to_string() }
    }
}

/// The last execution that a trigger started.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct LastExecution {
    /// The execution's id.
    pub id: String,
    /// How it ended.
    #[schema(value_type = String)]
    pub status: Cow<'static, str>,
    /// The error message; `null` without an error.
    pub error_message: Option<String>,
    /// When it ended, in microseconds since 1970.
    pub finished_at: i64,
}

/// The trigger to create.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTrigger)]
pub struct CreateTrigger {
    /// The id of a script of the app.
    pub script_id: String,
    /// The event that it fires on.
    pub on: On,
    /// Whether it is enabled. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The retry policy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: Retry,
}

/// The changes to a trigger. An omitted field is not changed.
#[derive(Debug, Deserialize, Serialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriggerChange)]
pub struct UpdateTrigger {
    /// The id of another script of the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_id: Option<String>,
    /// The event that it fires on; the kind cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<On>,
    /// Whether it is enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The whole retry policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// Filters for a list of triggers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TriggersQuery {
    /// Only this kind: `kv`, `cron`, `queue`, `pubsub`, `files`, `dead_letter`.
    #[param(value_type = Option<String>)]
    kind: Option<TriggerKind>,
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists an app's triggers, newest first.
#[utoipa::path(get, path = "/apps/{app}/triggers", tag = "triggers",
    params(("app" = String, Path, description = "The app's name"), TriggersQuery),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "A page of triggers", body = List<Trigger>)))]
pub(super) async fn list_triggers(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<TriggersQuery>,
) -> Result<Json<List<Trigger>>> {
    let page = PageQuery::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let rows = control_plane.store.list_triggers(&app.id, query.kind, page.rows()).await?;
    let mut last = last_executions(&control_plane, &rows).await?;
    let item = |trigger: store::Trigger| {
        let last_execution = last.remove(&trigger.id);
        Trigger { last_execution, ..shown(trigger) }
    };
    Ok(Json(page.list(rows, item)))
}

/// Creates a trigger. It fires on events from now on. A queue trigger also gets the messages that
/// are already in its queue.
#[utoipa::path(post, path = "/apps/{app}/triggers", tag = "triggers",
    params(("app" = String, Path, description = "The app's name")), request_body = CreateTrigger,
    security(("key" = ["app:admin"])),
    responses((status = 201, description = "The new trigger", body = Trigger)))]
pub(super) async fn create_trigger(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<CreateTrigger>,
) -> Result<(StatusCode, Json<Trigger>)> {
    let app = control_plane.app(&caller, &name, Capability::AppManageTriggers).await?;
    let body = body.read()?;
    let now = control_plane.clock.now_us();
    let trigger = store::Trigger {
        id: control_plane.clock.new_id().into(),
        app_id: app.id,
        script_id: script_id(&body.script_id)?,
        disabled_at: (body.enabled == Some(false)).then_some(now),
        retry: body.retry.checked()?,
        registered_by_principal: caller.principal.to_string(),
        registrant: None,
        created_at: now,
        updated_at: now,
        detail: body.on.checked(now)?,
    };
    let change = changed("create_trigger", &trigger).to(&described(&trigger));
    let trigger = control_plane.change(&caller, change).insert_trigger(trigger).await?;
    Ok((StatusCode::CREATED, Json(shown(trigger))))
}

/// Shows a trigger.
#[utoipa::path(get, path = "/triggers/{id}", tag = "triggers",
    params(("id" = String, Path, description = "The trigger's id")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "The trigger", body = Trigger)))]
pub(super) async fn get_trigger(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<TriggerId>,
) -> Result<Json<Trigger>> {
    let trigger = trigger_of(&control_plane, &caller, &id, Capability::AppRead).await?;
    let mut last = last_executions(&control_plane, std::slice::from_ref(&trigger)).await?;
    let last_execution = last.remove(&trigger.id);
    Ok(Json(Trigger { last_execution, ..shown(trigger) }))
}

/// Changes, enables or disables a trigger. A schedule that is enabled again continues from now;
/// missed firings are skipped.
#[utoipa::path(patch, path = "/triggers/{id}", tag = "triggers",
    params(("id" = String, Path, description = "The trigger's id")), request_body = UpdateTrigger,
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "The changed trigger", body = Trigger)))]
pub(super) async fn update_trigger(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<TriggerId>,
    body: Body<UpdateTrigger>,
) -> Result<Json<Trigger>> {
    let before = trigger_of(&control_plane, &caller, &id, Capability::AppManageTriggers).await?;
    let body = body.read()?;
    let now = control_plane.clock.now_us();
    let mut detail = body.on.map(|on| on.checked(now)).transpose()?;
    if detail.is_none() && body.enabled == Some(true) {
        let starts_anew = before.disabled_at.is_some() && before.detail.kind() == TriggerKind::Cron;
        if starts_anew {
            detail = Some(On::from(before.detail.clone()).checked(now)?);
        }
    }
    let change = TriggerChange {
        script_id: body.script_id.as_deref().map(script_id).transpose()?,
        enabled: body.enabled,
        // The principal that changes it is responsible for it from now on.
        registered_by_principal: Some(caller.principal.to_string()),
        retry: body.retry.map(Retry::checked).transpose()?,
        detail,
        updated_at: now,
    };
    let audited = changed("update_trigger", &before).from(&described(&before)).to(&json!({
        "script_id": change.script_id,
        "enabled": change.enabled,
        "on": change.detail.clone().map(On::from),
        "retry": change.retry.map(Retry::from),
    }));
    let trigger = control_plane.change(&caller, audited).update_trigger(&id, change).await?;
    Ok(Json(shown(trigger)))
}

/// Deletes a trigger. Its events still run. Messages of its queue wait for another trigger.
#[utoipa::path(delete, path = "/triggers/{id}", tag = "triggers",
    params(("id" = String, Path, description = "The trigger's id")),
    security(("key" = ["app:admin"])),
    responses((status = 204, description = "The trigger is deleted")))]
pub(super) async fn delete_trigger(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<TriggerId>,
) -> Result<StatusCode> {
    // Also finds a trigger that this release cannot read: deleting it is the only option then.
    let (app_id, kind, trigger) = control_plane.store.find_any_trigger(&id).await?;
    let manage = Capability::AppManageTriggers;
    control_plane.auth.allow(&caller, &app_id, manage, Resource::Trigger).await?;
    let change = Change::new("delete_trigger", Resource::Trigger, id.as_str(), &kind);
    let before = trigger.as_ref().map_or(Value::Null, described);
    let change = change.in_app(&app_id).from(&before);
    control_plane.change(&caller, change).delete_trigger(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Finds a trigger and checks that the caller has the capability in its app.
async fn trigger_of(
    control_plane: &ControlPlane,
    caller: &Caller,
    id: &TriggerId,
    capability: Capability,
) -> Result<store::Trigger> {
    let trigger = control_plane.store.find_trigger(id).await?;
    control_plane.auth.allow(caller, &trigger.app_id, capability, Resource::Trigger).await?;
    Ok(trigger)
}

fn changed(action: &'static str, trigger: &store::Trigger) -> Change {
    let kind = trigger.detail.kind().as_str();
    Change::new(action, Resource::Trigger, trigger.id.as_str(), kind).in_app(&trigger.app_id)
}

/// Returns the trigger as the audit log shows it.
fn described(trigger: &store::Trigger) -> Value {
    json!({
        "script_id": trigger.script_id,
        "enabled": trigger.disabled_at.is_none(),
        "on": On::from(trigger.detail.clone()),
        "retry": Retry::from(trigger.retry),
        "registered_by": trigger.registered_by_principal,
    })
}

fn script_id(text: &str) -> Result<ScriptId> {
    text.parse().map_err(|_| Error::not_found(Resource::Script))
}

async fn last_executions(
    control_plane: &ControlPlane,
    triggers: &[store::Trigger],
) -> Result<HashMap<TriggerId, LastExecution>> {
    let ids: Vec<_> = triggers.iter().map(|trigger| &trigger.id).collect();
    let rows = control_plane.store.list_last_executions(&ids).await?;
    let last = rows.into_iter().map(|row| {
        let error: Option<Value> = row.error.and_then(|error| error.value().ok());
        let message = error.and_then(|error| error["message"].as_str().map(str::to_owned));
        let execution = LastExecution {
            id: row.id.into(),
            status: row.status.as_str().into(),
            error_message: message,
            finished_at: row.finished_at,
        };
        (row.trigger_id, execution)
    });
    Ok(last.collect())
}

/// Returns the next firings of a stored schedule (empty while it does not fire), and its error.
fn schedule(detail: &TriggerDetail, is_off: bool) -> (Option<Vec<i64>>, Option<String>) {
    let TriggerDetail::Cron { expression, zone, dst, due_at, .. } = detail else {
        return (None, None);
    };
    let dst = Dst::try_from(dst.clone()).unwrap_or(Dst::Once);
    let (schedule, warning) = match Schedule::parse_stored(expression, zone, dst) {
        Ok(schedule) => {
            let warning = schedule.objection().map(ToString::to_string);
            (Some(schedule), warning)
        }
        Err(refused) => (None, Some(format!("it does not fire: {refused}"))),
    };
    let due_at = due_at.filter(|_| !is_off && schedule.is_some());
    let runs = due_at.into_iter().flat_map(|due_at| {
        let later = schedule.iter().flat_map(move |s| s.upcoming(due_at, NEXT_RUNS - 1));
        std::iter::once(due_at).chain(later)
    });
    (Some(runs.collect()), warning)
}

fn shown(trigger: store::Trigger) -> Trigger {
    let stopped = stop_reason(&trigger).map(Stopped::from);
    let registered_by_name = trigger.registrant.map(|registrant| registrant.name);
    let is_off = trigger.disabled_at.is_some() || stopped.is_some();
    let (next_runs, schedule_warning) = schedule(&trigger.detail, is_off);
    let on = On::from(trigger.detail).into();
    Trigger {
        stopped,
        registered_by_name,
        id: trigger.id.into(),
        script_id: trigger.script_id.into(),
        enabled: trigger.disabled_at.is_none(),
        on,
        retry: Extensible::Known(trigger.retry.into()),
        next_runs,
        schedule_warning,
        last_execution: None,
        registered_by: trigger.registered_by_principal,
        created_at: trigger.created_at,
        updated_at: trigger.updated_at,
    }
}
