//! `/schedules/preview`: when a schedule would fire, before a trigger is created.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use super::extract::Body;
use super::triggers::{NEXT_RUNS, parse_schedule};
use crate::auth::{Caller, Capability};
use crate::cron::Dst;
use crate::error::Result;

/// The schedule to preview.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewSchedule {
    /// The schedule, in the syntax of a trigger.
    #[schema(example = "30 7 * * MON-FRI")]
    schedule: String,
    /// An IANA time zone. Default: UTC.
    #[schema(example = "Europe/Berlin")]
    zone: Option<String>,
    /// How to handle times that a clock change skips or repeats: `skip`, `once` or `both`. Default:
    /// `once`.
    #[schema(value_type = Option<String>)]
    dst: Option<Dst>,
}

/// The next firings of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct SchedulePreview {
    /// The next five firings, in microseconds since 1970.
    next_runs: Vec<i64>,
}

/// Returns when a schedule would fire.
#[utoipa::path(post, path = "/schedules/preview", tag = "triggers",
    request_body = PreviewSchedule,
    security(("key" = ["script:read"])),
    responses((status = 200, description = "The next firings", body = SchedulePreview)))]
pub(super) async fn preview_schedule(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    body: Body<PreviewSchedule>,
) -> Result<Json<SchedulePreview>> {
    caller.check(Capability::PlatformUse)?;
    let body = body.read()?;
    let zone = body.zone.as_deref().unwrap_or("UTC");
    let schedule = parse_schedule(&body.schedule, zone, body.dst.unwrap_or(Dst::Once))?;
    let next_runs = schedule.upcoming(control_plane.clock.now_us(), NEXT_RUNS);
    Ok(Json(SchedulePreview { next_runs }))
}
