//! `/apps/{app}/triggers` and `/triggers/{id}`: what makes a script run besides a
//! request.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use crate::cron::{Dst, Misfire, Overlap, Schedule};
use crate::error::{Error, Refusal, Result};
use crate::store::{
    self, Backoff, Operations, Resource, RetryOverrides, ScriptId, TriggerChange, TriggerDetail,
    TriggerId, TriggerKind,
};

/// How many of the next firings are shown.
const NEXT_RUNS: usize = 5;
/// The most attempts that a trigger may ask for, and the longest wait.
const ATTEMPTS_MAX: i64 = 1000;
const WAIT_MS_MAX: i64 = 86_400_000;
/// The longest glob or name.
const NAME_BYTES_MAX: usize = 256;

/// What a trigger fires on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = TriggerOn)]
pub enum On {
    /// A changed key.
    Kv {
        /// The collection, or a glob: `*` stands for any characters.
        #[schema(example = "orders:*")]
        collection: String,
        /// `insert`, `update`, `delete`; all when left out.
        #[serde(default = "Operations::all")]
        #[schema(value_type = Vec<String>)]
        operations: Operations,
    },
    /// A schedule.
    Cron {
        /// Minute, hour, day of month, month, day of week; a sixth field before them
        /// is the second.
        #[schema(example = "30 7 * * MON-FRI")]
        schedule: String,
        /// An IANA time zone.
        #[serde(default = "utc")]
        #[schema(example = "Europe/Berlin")]
        zone: String,
        /// What to do about a time that a change of the clock leaves out or brings
        /// twice: `skip`, `once`, `both`.
        #[serde(default = "once_on_odd_days")]
        #[schema(value_type = String)]
        dst: Dst,
        /// What to do about firings that were missed: `skip`, `once`, `all`.
        #[serde(default = "once_after_misfires")]
        #[schema(value_type = String)]
        misfire: Misfire,
        /// Whether it fires while an earlier firing is not done: `allow`, `forbid`.
        #[serde(default = "allow_overlap")]
        #[schema(value_type = String)]
        overlap: Overlap,
    },
    /// A message in a queue; a queue has one trigger.
    Queue {
        /// The queue.
        queue: String,
    },
    /// A message on a topic.
    Pubsub {
        /// The topic, or a glob.
        topic: String,
    },
    /// A mail. None can be made yet: this version receives no mail.
    Email {
        /// The address.
        address: String,
    },
    /// A changed file.
    Files {
        /// The bucket, or a glob.
        bucket: String,
        /// The path, or a glob; everything when left out.
        #[serde(default = "everything")]
        path: String,
        /// `insert`, `update`, `delete`; all when left out.
        #[serde(default = "Operations::all")]
        #[schema(value_type = Vec<String>)]
        operations: Operations,
    },
    /// An event that was given up.
    DeadLetter {
        /// Only events of this kind.
        #[schema(value_type = Option<String>)]
        source_kind: Option<TriggerKind>,
        /// Only events by this trigger.
        source_trigger_id: Option<String>,
        /// Only events of this script.
        source_script_id: Option<String>,
    },
}

fn utc() -> String {
    "UTC".to_owned()
}
fn once_on_odd_days() -> Dst {
    Dst::Once
}
fn once_after_misfires() -> Misfire {
    Misfire::Once
}
fn allow_overlap() -> Overlap {
    Overlap::Allow
}
fn everything() -> String {
    "*".to_owned()
}

/// What to do when the script fails; what is left out is the platform's default.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = TriggerRetry)]
pub struct Retry {
    /// Attempts in all, 1 to 1000.
    attempts_max: Option<i64>,
    /// How the wait grows: `constant` or `exponential`.
    #[schema(value_type = Option<String>)]
    backoff: Option<Backoff>,
    /// The first wait, in milliseconds.
    base_ms: Option<i64>,
    /// The longest wait, in milliseconds.
    cap_ms: Option<i64>,
    /// How much of a wait is random, 0 to 1.
    jitter: Option<f64>,
}

/// A trigger.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trigger {
    /// Its id.
    id: String,
    /// The id of the script that it runs.
    script_id: String,
    /// Whether it fires.
    enabled: bool,
    /// What it fires on.
    on: On,
    /// What to do when the script fails.
    retry: Retry,
    /// Of a schedule: the next five firings, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_runs: Option<Vec<i64>>,
    /// As whom the script runs.
    registered_by: String,
    /// When it was made, in microseconds since 1970.
    created_at: i64,
    /// When it was last changed, in microseconds since 1970.
    updated_at: i64,
}

/// A trigger to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTrigger)]
pub struct CreateTrigger {
    /// The id of a script of the app.
    script_id: String,
    /// What it fires on.
    on: On,
    /// Whether it fires; yes when left out.
    enabled: Option<bool>,
    /// What to do when the script fails.
    #[serde(default)]
    retry: Retry,
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriggerChange)]
pub struct UpdateTrigger {
    /// The id of another script of the app.
    script_id: Option<String>,
    /// What it fires on; of the same kind.
    on: Option<On>,
    /// Whether it fires.
    enabled: Option<bool>,
    /// The whole policy.
    retry: Option<Retry>,
}

/// Which triggers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TriggersQuery {
    /// Only of this kind: `kv`, `cron`, `queue`, `pubsub`, `files`, `dead_letter`.
    #[param(value_type = Option<String>)]
    kind: Option<TriggerKind>,
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// So many are skipped first.
    offset: Option<i64>,
}

/// Lists an app's triggers, newest first.
#[utoipa::path(get, path = "/apps/{app}/triggers", tag = "triggers",
    params(("app" = String, Path, description = "The app's name"), TriggersQuery),
    responses((status = 200, description = "A page of triggers", body = List<Trigger>)))]
pub(super) async fn list_triggers(
    State(control_plane): State<ControlPlane>,
    Path(name): Path<String>,
    Query(query): Query<TriggersQuery>,
) -> Result<Json<List<Trigger>>> {
    let page = Page::new(query.limit, query.offset)?;
    let app = control_plane.app(&name).await?;
    let rows = control_plane.store.list_triggers(&app.id, query.kind, page.rows()).await?;
    let now = control_plane.clock.now_us();
    Ok(Json(page.list(rows, |trigger| shown(trigger, now))))
}

/// Makes a trigger. It fires on what happens from now on; the messages that wait in
/// its queue are its own.
#[utoipa::path(post, path = "/apps/{app}/triggers", tag = "triggers",
    params(("app" = String, Path, description = "The app's name")), request_body = CreateTrigger,
    responses((status = 201, description = "The new trigger", body = Trigger)))]
pub(super) async fn create_trigger(
    State(control_plane): State<ControlPlane>,
    Path(name): Path<String>,
    Body(body): Body<CreateTrigger>,
) -> Result<(StatusCode, Json<Trigger>)> {
    let app = control_plane.app(&name).await?;
    let now = control_plane.clock.now_us();
    let trigger = store::Trigger {
        id: control_plane.clock.new_id().into(),
        app_id: app.id,
        script_id: script_id(&body.script_id)?,
        disabled_at: (body.enabled == Some(false)).then_some(now),
        retry: body.retry.checked()?,
        registered_by_principal: "owner".to_owned(),
        created_at: now,
        updated_at: now,
        detail: body.on.checked(now)?,
    };
    let trigger = control_plane.store.insert_trigger(trigger).await?;
    Ok((StatusCode::CREATED, Json(shown(trigger, now))))
}

/// Shows a trigger.
#[utoipa::path(get, path = "/triggers/{id}", tag = "triggers",
    params(("id" = String, Path, description = "The trigger's id")),
    responses((status = 200, description = "The trigger", body = Trigger)))]
pub(super) async fn get_trigger(
    State(control_plane): State<ControlPlane>,
    Path(id): Path<TriggerId>,
) -> Result<Json<Trigger>> {
    let trigger = control_plane.store.find_trigger(&id).await?;
    Ok(Json(shown(trigger, control_plane.clock.now_us())))
}

/// Changes a trigger, or enables or disables it. A schedule that is enabled again
/// begins anew: what it missed meanwhile was not meant to fire.
#[utoipa::path(patch, path = "/triggers/{id}", tag = "triggers",
    params(("id" = String, Path, description = "The trigger's id")), request_body = UpdateTrigger,
    responses((status = 200, description = "The changed trigger", body = Trigger)))]
pub(super) async fn update_trigger(
    State(control_plane): State<ControlPlane>,
    Path(id): Path<TriggerId>,
    Body(body): Body<UpdateTrigger>,
) -> Result<Json<Trigger>> {
    let now = control_plane.clock.now_us();
    let mut detail = body.on.map(|on| on.checked(now)).transpose()?;
    if detail.is_none() && body.enabled == Some(true) {
        let trigger = control_plane.store.find_trigger(&id).await?;
        let starts_anew =
            trigger.disabled_at.is_some() && trigger.detail.kind() == TriggerKind::Cron;
        if starts_anew {
            detail = Some(On::from(trigger.detail).checked(now)?);
        }
    }
    let change = TriggerChange {
        script_id: body.script_id.as_deref().map(script_id).transpose()?,
        enabled: body.enabled,
        retry: body.retry.map(Retry::checked).transpose()?,
        detail,
        updated_at: now,
    };
    let trigger = control_plane.store.update_trigger(&id, change).await?;
    Ok(Json(shown(trigger, now)))
}

/// Deletes a trigger. Events that it has brought are carried out; messages of its
/// queue wait for another.
#[utoipa::path(delete, path = "/triggers/{id}", tag = "triggers",
    params(("id" = String, Path, description = "The trigger's id")),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_trigger(
    State(control_plane): State<ControlPlane>,
    Path(id): Path<TriggerId>,
) -> Result<StatusCode> {
    control_plane.store.delete_trigger(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn script_id(text: &str) -> Result<ScriptId> {
    text.parse().map_err(|_| Error::not_found(Resource::Script))
}

fn shown(trigger: store::Trigger, now: i64) -> Trigger {
    let on = On::from(trigger.detail);
    let next_runs = match &on {
        On::Cron { schedule, zone, dst, .. } => {
            Schedule::parse(schedule, zone, *dst).ok().map(|s| s.upcoming(now, NEXT_RUNS))
        }
        _ => None,
    };
    Trigger {
        id: trigger.id.into(),
        script_id: trigger.script_id.into(),
        enabled: trigger.disabled_at.is_none(),
        on,
        retry: trigger.retry.into(),
        next_runs,
        registered_by: trigger.registered_by_principal,
        created_at: trigger.created_at,
        updated_at: trigger.updated_at,
    }
}

impl Retry {
    fn checked(self) -> Result<RetryOverrides> {
        let within = |field, value: Option<i64>, least, most| match value {
            Some(value) if !(least..=most).contains(&value) => {
                let refusal = Refusal::field(field, &format!("must be {least} to {most}"));
                Err(Error::Invalid(refusal.with("least", least).with("most", most)))
            }
            _ => Ok(value),
        };
        if self.jitter.is_some_and(|jitter| !(0.0..=1.0).contains(&jitter)) {
            return Err(Error::Invalid(Refusal::field("jitter", "must be 0 to 1")));
        }
        Ok(RetryOverrides {
            attempts_max: within("attempts_max", self.attempts_max, 1, ATTEMPTS_MAX)?,
            backoff: self.backoff,
            backoff_base_ms: within("base_ms", self.base_ms, 0, WAIT_MS_MAX)?,
            backoff_cap_ms: within("cap_ms", self.cap_ms, 0, WAIT_MS_MAX)?,
            jitter: self.jitter,
        })
    }
}

impl From<RetryOverrides> for Retry {
    fn from(retry: RetryOverrides) -> Self {
        Self {
            attempts_max: retry.attempts_max,
            backoff: retry.backoff,
            base_ms: retry.backoff_base_ms,
            cap_ms: retry.backoff_cap_ms,
            jitter: retry.jitter,
        }
    }
}

fn named(field: &str, name: String) -> Result<String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        let reason = format!("must be 1 to {NAME_BYTES_MAX} bytes without NUL");
        return Err(Error::Invalid(Refusal::field(field, &reason)));
    }
    Ok(name)
}

impl On {
    /// The detail, as it is stored.
    fn checked(self, now: i64) -> Result<TriggerDetail> {
        Ok(match self {
            Self::Kv { collection, operations } => {
                TriggerDetail::Kv { collection: named("collection", collection)?, operations }
            }
            Self::Cron { schedule, zone, dst, misfire, overlap } => {
                let parsed = Schedule::parse(&schedule, &zone, dst).map_err(|reason| {
                    Error::Unprocessable(Refusal::new("schedule_invalid", reason))
                })?;
                TriggerDetail::Cron {
                    due_at: parsed.next_after(now),
                    expression: schedule,
                    zone,
                    dst: dst.as_str().to_owned(),
                    misfire: misfire.as_str().to_owned(),
                    overlap: overlap.as_str().to_owned(),
                }
            }
            Self::Queue { queue } => TriggerDetail::Queue { queue: named("queue", queue)? },
            Self::Pubsub { topic } => TriggerDetail::Pubsub { topic: named("topic", topic)? },
            Self::Email { .. } => {
                let refusal = Refusal::new("email_unavailable", "this version receives no mail");
                return Err(Error::Unprocessable(refusal));
            }
            Self::Files { bucket, path, operations } => TriggerDetail::Files {
                bucket: named("bucket", bucket)?,
                path: named("path", path)?,
                operations,
            },
            Self::DeadLetter { source_kind, source_trigger_id, source_script_id } => {
                let trigger_id = source_trigger_id.map(|id| id.parse()).transpose();
                let script_id = source_script_id.map(|id| id.parse()).transpose();
                TriggerDetail::DeadLetter {
                    source_kind,
                    source_trigger_id: trigger_id
                        .map_err(|_| Error::not_found(Resource::Trigger))?,
                    source_script_id: script_id.map_err(|_| Error::not_found(Resource::Script))?,
                }
            }
        })
    }
}

impl From<TriggerDetail> for On {
    fn from(detail: TriggerDetail) -> Self {
        match detail {
            TriggerDetail::Kv { collection, operations } => Self::Kv { collection, operations },
            TriggerDetail::Cron { expression, zone, dst, misfire, overlap, .. } => Self::Cron {
                schedule: expression,
                zone,
                dst: Dst::try_from(dst).unwrap_or(Dst::Once),
                misfire: Misfire::try_from(misfire).unwrap_or(Misfire::Once),
                overlap: Overlap::try_from(overlap).unwrap_or(Overlap::Allow),
            },
            TriggerDetail::Queue { queue } => Self::Queue { queue },
            TriggerDetail::Pubsub { topic } => Self::Pubsub { topic },
            TriggerDetail::Files { bucket, path, operations } => {
                Self::Files { bucket, path, operations }
            }
            TriggerDetail::DeadLetter { source_kind, source_trigger_id, source_script_id } => {
                Self::DeadLetter {
                    source_kind,
                    source_trigger_id: source_trigger_id.map(Into::into),
                    source_script_id: source_script_id.map(Into::into),
                }
            }
            TriggerDetail::Email { address } => Self::Email { address },
        }
    }
}
