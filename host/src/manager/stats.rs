//! `/apps/{app}/stats`: the number of executions over time, and their cost.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Path, Query};
use crate::auth::{Caller, Capability};
use crate::error::{Error, Refusal, Result};
use crate::store::{ExecutionScope, ExecutionStatus, Resource, Sample, ScriptId};

/// The most executions read: the newest ones.
const SAMPLES_MAX: usize = 100_000;
const BUCKETS_DEFAULT: i64 = 60;
pub(super) const BUCKETS_MAX: i64 = 240;
const HOUR_US: i64 = 3_600_000_000;

/// Executions over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Start of the first bucket, in microseconds since 1970.
    from_at: i64,
    /// End of the last bucket, in microseconds since 1970.
    to_at: i64,
    /// Length of a bucket, in milliseconds.
    bucket_ms: i64,
    /// Whether there were more executions than are read. If so, the earliest buckets are
    /// incomplete.
    truncated: bool,
    /// All buckets in order, including empty ones.
    buckets: Vec<Bucket>,
    /// All scripts that ran, the most runs first.
    scripts: Vec<ScriptStats>,
}

/// A time range.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatsBucket)]
pub struct Bucket {
    /// Start of the bucket, in microseconds since 1970.
    at: i64,
    /// The number of executions that ended in it.
    runs: usize,
    /// The number of those that did not succeed.
    errors: usize,
    /// Median duration, in microseconds.
    duration_p50_us: Option<i64>,
    /// 95th percentile of the duration, in microseconds.
    duration_p95_us: Option<i64>,
    /// Median fuel.
    fuel_p50: Option<i64>,
    /// Highest fuel of one execution.
    fuel_max: Option<i64>,
}

/// The executions of one script.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScriptStats {
    /// The script's id.
    script_id: String,
    /// The script's name when it last ran.
    name: String,
    /// The number of its executions.
    runs: usize,
    /// The number of those that did not succeed.
    errors: usize,
    /// Total fuel.
    fuel_total: i64,
    /// 95th percentile of the duration, in microseconds.
    duration_p95_us: Option<i64>,
}

/// The time range and the script.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatsQuery {
    /// Start of the range, in microseconds since 1970. Default: one hour before the end.
    from: Option<i64>,
    /// End of the range, in microseconds since 1970. Default: now.
    to: Option<i64>,
    /// Number of buckets, 1 to 240. Default: 60.
    buckets: Option<i64>,
    /// Only executions of the script with this id.
    script_id: Option<String>,
}

/// Counts an app's executions over time, at most the newest 100,000 of the range.
#[utoipa::path(get, path = "/apps/{app}/stats", tag = "executions",
    params(("app" = String, Path, description = "The app's name"), StatsQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "The figures", body = Stats)))]
pub(super) async fn get_stats(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<StatsQuery>,
) -> Result<Json<Stats>> {
    let now = control_plane.clock.now_us();
    let span = Span::of(query.from, query.to, query.buckets, now)?;
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    let scope = match &query.script_id {
        None => ExecutionScope::App(app.id),
        Some(id) => {
            let id: ScriptId = id.parse().map_err(|_| Error::not_found(Resource::Script))?;
            ExecutionScope::Script(control_plane.script_of(&app.id, &id).await?.id)
        }
    };
    let limit = SAMPLES_MAX as i64 + 1;
    let store = &control_plane.store;
    store.flush().await?;
    let mut samples = store.list_samples(&scope, span.from, span.to, limit).await?;
    let truncated = samples.len() > SAMPLES_MAX;
    samples.truncate(SAMPLES_MAX);
    Ok(Json(Stats {
        from_at: span.from,
        to_at: span.to,
        bucket_ms: span.bucket_us / 1000,
        truncated,
        buckets: buckets(&span, &samples),
        scripts: scripts(&samples),
    }))
}

/// A time range, divided into equal buckets of whole milliseconds.
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) bucket_us: i64,
    pub(super) buckets: i64,
}

impl Span {
    /// Builds the range of a query. Default: the last hour, in 60 buckets.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub(super) fn of(
        from: Option<i64>,
        to: Option<i64>,
        buckets: Option<i64>,
        now: i64,
    ) -> Result<Self> {
        let buckets = buckets.unwrap_or(BUCKETS_DEFAULT);
        if !(1..=BUCKETS_MAX).contains(&buckets) {
            let refusal = Refusal::field("buckets", &format!("must be 1 to {BUCKETS_MAX}"));
            return Err(Error::Invalid(refusal.with("least", 1).with("most", BUCKETS_MAX)));
        }
        let to = to.unwrap_or(now.saturating_add(1));
        let from = from.unwrap_or(to.saturating_sub(HOUR_US));
        if from < 0 || from >= to {
            return Err(Error::Invalid(Refusal::field(
                "from",
                "must be 0 or more and before `to`",
            )));
        }
        let bucket_ms = (to - from - 1) / (buckets * 1000) + 1;
        Ok(Self { from, to, bucket_us: bucket_ms.saturating_mul(1000), buckets })
    }
}

fn buckets(span: &Span, samples: &[Sample]) -> Vec<Bucket> {
    let place = |sample: &Sample| (sample.finished_at - span.from) / span.bucket_us;
    let mut places: BTreeMap<i64, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        places.entry(place(sample)).or_default().push(sample);
    }
    let bucket = |place: i64| {
        let samples = places.remove(&place).unwrap_or_default();
        let durations = sorted(&samples, |sample| sample.duration_us);
        let fuel = sorted(&samples, |sample| sample.fuel_used);
        Bucket {
            at: span.from.saturating_add(place.saturating_mul(span.bucket_us)),
            runs: samples.len(),
            errors: errors(&samples),
            duration_p50_us: percentile(&durations, 50),
            duration_p95_us: percentile(&durations, 95),
            fuel_p50: percentile(&fuel, 50),
            fuel_max: fuel.last().copied(),
        }
    };
    (0..span.buckets).map(bucket).collect()
}

fn scripts(samples: &[Sample]) -> Vec<ScriptStats> {
    let mut of_script: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        of_script.entry(sample.script_id.as_str()).or_default().push(sample);
    }
    let mut scripts: Vec<ScriptStats> = of_script
        .into_iter()
        .map(|(script_id, samples)| ScriptStats {
            script_id: script_id.to_owned(),
            // The newest sample comes first.
            name: samples[0].script_name.clone(),
            runs: samples.len(),
            errors: errors(&samples),
            fuel_total: samples.iter().fold(0, |sum, sample| sum.saturating_add(sample.fuel_used)),
            duration_p95_us: percentile(&sorted(&samples, |sample| sample.duration_us), 95),
        })
        .collect();
    scripts.sort_by(|a, b| b.runs.cmp(&a.runs).then_with(|| a.name.cmp(&b.name)));
    scripts
}

fn errors(samples: &[&Sample]) -> usize {
    samples.iter().filter(|sample| sample.status != ExecutionStatus::Success).count()
}

fn sorted(samples: &[&Sample], value: impl Fn(&Sample) -> i64) -> Vec<i64> {
    let mut values: Vec<i64> = samples.iter().map(|sample| value(sample)).collect();
    values.sort_unstable();
    values
}

/// Returns the smallest value that `percent` percent do not exceed (nearest rank).
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(script: &str, finished_at: i64, duration_us: i64, ok: bool) -> Sample {
        Sample {
            script_id: uuid::Uuid::from_u128(script.len() as u128).into(),
            script_name: script.to_owned(),
            status: if ok { ExecutionStatus::Success } else { ExecutionStatus::Timeout },
            fuel_used: duration_us * 10,
            duration_us,
            finished_at,
        }
    }

    #[test]
    fn percentiles_are_values_that_there_were() {
        let values: Vec<i64> = (1..=100).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 95)), (Some(50), Some(95)));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 95)), (Some(7), Some(7)));
        assert_eq!(percentile(&[], 95), None);
    }

    #[test]
    fn every_execution_is_in_the_bucket_of_its_end() {
        let span = Span::of(Some(0), Some(4_000), Some(4), 9).unwrap();
        assert_eq!(span.bucket_us, 1000);
        let samples = [
            sample("a", 3_999, 30, true),
            sample("bb", 1_000, 20, false),
            sample("a", 999, 10, true),
            sample("a", 0, 40, true),
        ];
        let buckets = buckets(&span, &samples);
        let figures: Vec<_> = buckets
            .iter()
            .map(|b| (b.at, b.runs, b.errors, b.duration_p50_us, b.duration_p95_us, b.fuel_max))
            .collect();
        assert_eq!(
            figures,
            [
                (0, 2, 0, Some(10), Some(40), Some(400)),
                (1000, 1, 1, Some(20), Some(20), Some(200)),
                (2000, 0, 0, None, None, None),
                (3000, 1, 0, Some(30), Some(30), Some(300)),
            ]
        );
        let scripts: Vec<_> = scripts(&samples)
            .into_iter()
            .map(|s| (s.name, s.runs, s.errors, s.fuel_total))
            .collect();
        assert_eq!(scripts, [("a".to_owned(), 3, 0, 800), ("bb".to_owned(), 1, 1, 200)]);
    }

    #[test]
    fn the_time_asked_for_has_a_beginning_before_its_end() {
        let hour = Span::of(None, None, None, 5 * HOUR_US).unwrap();
        assert_eq!((hour.to, hour.to - hour.from, hour.buckets), (5 * HOUR_US + 1, HOUR_US, 60));
        for (from, to, buckets) in [
            (Some(5), Some(5), None),
            (Some(-1), Some(5), None),
            (None, None, Some(0)),
            (None, None, Some(241)),
        ] {
            assert!(Span::of(from, to, buckets, 0).is_err(), "{from:?} {to:?} {buckets:?}");
        }
        assert!(Span::of(None, None, Some(240), HOUR_US).is_ok());
    }
}
