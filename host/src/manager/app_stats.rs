//! `/stats`: executions of several apps over time, for a page that lists apps.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::Query;
use super::stats::Span;
use crate::auth::{Caller, Capability};
use crate::error::{Error, Refusal, Result};
use crate::store::{App, DeadLetterFilter, RunCount};

/// The most apps in one request.
pub(super) const APPS_MAX: usize = 50;
/// The most executions counted for each app: the newest ones.
const RUNS_MAX: i64 = 20_000;

/// Executions of several apps over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppStatsList {
    /// Start of the first bucket, in microseconds since 1970.
    from_at: i64,
    /// End of the last bucket, in microseconds since 1970.
    to_at: i64,
    /// Length of a bucket, in milliseconds.
    bucket_ms: i64,
    /// The apps by name. Apps that do not exist or whose log the caller cannot read are omitted.
    items: Vec<AppStats>,
}

/// An app's executions over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppStats {
    /// The app's name.
    app: String,
    /// The number of executions that ended in each bucket, in order.
    runs: Vec<i64>,
    /// The number of those that did not succeed.
    errors: Vec<i64>,
    /// Whether there were more than 20,000 executions. If so, the earliest buckets are incomplete.
    truncated: bool,
    /// The number of unresolved dead letters; 10,000 means 10,000 or more.
    dead_letters_unresolved: i64,
}

/// The apps and the time range.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AppStatsQuery {
    /// The names of 1 to 50 apps, separated by commas.
    #[param(example = "shop,blog")]
    #[serde(default)]
    apps: String,
    /// Start of the range, in microseconds since 1970. Default: one hour before the end.
    from: Option<i64>,
    /// End of the range, in microseconds since 1970. Default: now.
    to: Option<i64>,
    /// Number of buckets, 1 to 240. Default: 60.
    buckets: Option<i64>,
}

/// Counts the executions of several apps over time, at most the newest 20,000 of each.
#[utoipa::path(get, path = "/stats", tag = "executions", params(AppStatsQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "The figures", body = AppStatsList)))]
pub(super) async fn list_app_stats(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Query(query): Query<AppStatsQuery>,
) -> Result<Json<AppStatsList>> {
    caller.check(Capability::PlatformReadStats)?;
    let names: BTreeSet<&str> = query.apps.split(',').filter(|name| !name.is_empty()).collect();
    if !(1..=APPS_MAX).contains(&names.len()) {
        let refusal = Refusal::field("apps", &format!("must name 1 to {APPS_MAX} apps"));
        return Err(Error::Invalid(refusal.with("least", 1).with("most", APPS_MAX)));
    }
    let now = control_plane.clock.now_us();
    let span = Span::of(query.from, query.to, query.buckets, now)?;
    control_plane.store.flush().await?;
    let mut items = Vec::with_capacity(names.len());
    for name in names {
        match control_plane.app(&caller, name, Capability::AppReadLogs).await {
            Ok(app) => items.push(stats_of(&control_plane, &span, app).await?),
            // An app that was deleted a moment ago must not fail the whole page.
            Err(Error::NotFound(_) | Error::Forbidden(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let Span { from, to, bucket_us, .. } = span;
    Ok(Json(AppStatsList { from_at: from, to_at: to, bucket_ms: bucket_us / 1000, items }))
}

async fn stats_of(control_plane: &ControlPlane, span: &Span, app: App) -> Result<AppStats> {
    let store = &control_plane.store;
    let counts = store.count_runs(&app.id, span.from, span.to, span.bucket_us, RUNS_MAX).await?;
    let unresolved = DeadLetterFilter { unresolved: true, ..DeadLetterFilter::default() };
    let buckets = usize::try_from(span.buckets).unwrap_or_default();
    let in_order = |figure: fn(&RunCount) -> i64| {
        let mut figures = vec![0; buckets];
        for count in &counts {
            let place = usize::try_from(count.place).ok();
            if let Some(at) = place.and_then(|place| figures.get_mut(place)) {
                *at = figure(count);
            }
        }
        figures
    };
    Ok(AppStats {
        runs: in_order(|count| count.runs),
        errors: in_order(|count| count.errors),
        truncated: counts.iter().map(|count| count.runs).sum::<i64>() >= RUNS_MAX,
        dead_letters_unresolved: store.count_dead_letters(&app.id, &unresolved).await?,
        app: app.name,
    })
}
