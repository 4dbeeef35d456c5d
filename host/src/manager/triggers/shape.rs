//! The API's form of a trigger's event and retry policy.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cron::{Dst, Misfire, Overlap, Schedule};
use crate::error::{Error, Refusal, Result};
use crate::events::rules;
use crate::manager::omitted::not_null;
use crate::store::{Backoff, Operations, Resource, RetryOverrides, TriggerDetail, TriggerKind};

/// The most attempts that a trigger can have, and the longest wait.
pub(in crate::manager) const ATTEMPTS_MAX: i64 = 1000;
pub(in crate::manager) const WAIT_MS_MAX: i64 = 86_400_000;

/// The event that a trigger fires on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = TriggerOn)]
pub enum On {
    /// A change to a key.
    Kv {
        /// The collection, or a glob: `*` matches any characters.
        #[schema(example = "orders:*")]
        collection: String,
        /// `insert`, `update`, `delete`. Default: all.
        #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Vec<String>)]
        operations: Option<Operations>,
    },
    /// A schedule.
    Cron {
        /// Minute, hour, day of month, month, day of week. A sixth field in front is the second.
        #[schema(example = "30 7 * * MON-FRI")]
        schedule: String,
        /// An IANA time zone.
        #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = String, example = "Europe/Berlin")]
        zone: Option<String>,
        /// How to handle times that a clock change skips or repeats: `skip`, `once` or `both`.
        #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = String)]
        dst: Option<Dst>,
        /// How to handle missed firings: `skip`, `once` or `all`.
        #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = String)]
        misfire: Option<Misfire>,
        /// Whether it fires before an earlier firing has finished: `allow` or `forbid`.
        #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = String)]
        overlap: Option<Overlap>,
    },
    /// A message in a queue. A queue has at most one trigger.
    Queue {
        /// The queue.
        queue: String,
    },
    /// A message on a topic.
    Pubsub {
        /// The topic, or a glob.
        topic: String,
    },
    /// An e-mail. It cannot be created yet: this version receives no e-mail.
    Email {
        /// The address.
        address: String,
    },
    /// A change to a file.
    Files {
        /// The bucket, or a glob.
        bucket: String,
        /// The path, or a glob. Default: all paths.
        #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = String)]
        path: Option<String>,
        /// `insert`, `update`, `delete`. Default: all.
        #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Vec<String>)]
        operations: Option<Operations>,
    },
    /// An event that became a dead letter.
    DeadLetter {
        /// Only events of this kind.
        #[schema(value_type = Option<String>)]
        source_kind: Option<TriggerKind>,
        /// Only events of the trigger with this id.
        source_trigger_id: Option<String>,
        /// Only events of the script with this id.
        source_script_id: Option<String>,
    },
}

/// The default time zone, and the default path: all paths.
const UTC: &str = "UTC";
const EVERYTHING: &str = "*";

/// The retry policy. An omitted field gets the platform's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = TriggerRetry)]
pub struct Retry {
    /// Total number of attempts, 1 to 1000.
    pub attempts_max: Option<i64>,
    /// How the wait between attempts grows: `constant` or `exponential`.
    #[schema(value_type = Option<String>)]
    pub backoff: Option<Backoff>,
    /// The first wait, in milliseconds.
    pub base_ms: Option<i64>,
    /// The longest wait, in milliseconds.
    pub cap_ms: Option<i64>,
    /// The random part of a wait, 0 to 1.
    pub jitter: Option<f64>,
}

impl Retry {
    pub(super) fn checked(self) -> Result<RetryOverrides> {
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

/// Parses a schedule from a request.
///
/// # Errors
/// `Unprocessable` `schedule_invalid`, with the details `field`, `given` and `allowed`.
pub(in crate::manager) fn parse_schedule(
    expression: &str,
    zone: &str,
    dst: Dst,
) -> Result<Schedule> {
    Schedule::parse(expression, zone, dst).map_err(|refused| {
        let refusal = Refusal::new("schedule_invalid", refused.to_string());
        let refusal = refusal.with("field", refused.field).with("given", refused.given);
        Error::Unprocessable(refusal.with("allowed", refused.allowed))
    })
}

fn named(field: &'static str, name: String) -> Result<String> {
    rules::check_name(field, field, &name, rules::NAME_BYTES_MAX)?;
    Ok(name)
}

impl On {
    /// Validates it, and returns the detail to store.
    pub(super) fn checked(self, now: i64) -> Result<TriggerDetail> {
        Ok(match self {
            Self::Kv { collection, operations } => TriggerDetail::Kv {
                collection: named("collection", collection)?,
                operations: operations.unwrap_or_else(Operations::all),
            },
            Self::Cron { schedule, zone, dst, misfire, overlap } => {
                let zone = zone.unwrap_or_else(|| UTC.to_owned());
                let dst = dst.unwrap_or(Dst::Once);
                let parsed = parse_schedule(&schedule, &zone, dst)?;
                TriggerDetail::Cron {
                    due_at: parsed.next_after(now),
                    expression: schedule,
                    zone,
                    dst: dst.as_str().to_owned(),
                    misfire: misfire.unwrap_or(Misfire::Once).as_str().to_owned(),
                    overlap: overlap.unwrap_or(Overlap::Allow).as_str().to_owned(),
                }
            }
            Self::Queue { queue } => TriggerDetail::Queue { queue: named("queue", queue)? },
            Self::Pubsub { topic } => TriggerDetail::Pubsub { topic: named("topic", topic)? },
            Self::Email { .. } => {
                let refusal = Refusal::new("email_unavailable", "this version receives no e-mail");
                return Err(Error::Unprocessable(refusal));
            }
            Self::Files { bucket, path, operations } => TriggerDetail::Files {
                bucket: named("bucket", bucket)?,
                path: named("path", path.unwrap_or_else(|| EVERYTHING.to_owned()))?,
                operations: operations.unwrap_or_else(Operations::all),
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
            TriggerDetail::Kv { collection, operations } => {
                Self::Kv { collection, operations: Some(operations) }
            }
            TriggerDetail::Cron { expression, zone, dst, misfire, overlap, .. } => Self::Cron {
                schedule: expression,
                zone: Some(zone),
                dst: Some(Dst::try_from(dst).unwrap_or(Dst::Once)),
                misfire: Some(Misfire::try_from(misfire).unwrap_or(Misfire::Once)),
                overlap: Some(Overlap::try_from(overlap).unwrap_or(Overlap::Allow)),
            },
            TriggerDetail::Queue { queue } => Self::Queue { queue },
            TriggerDetail::Pubsub { topic } => Self::Pubsub { topic },
            TriggerDetail::Files { bucket, path, operations } => {
                Self::Files { bucket, path: Some(path), operations: Some(operations) }
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
