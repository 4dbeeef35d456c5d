//! What a trigger fires on and what it does about failures, as the API has it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cron::{Dst, Misfire, Overlap, Schedule};
use crate::error::{Error, Refusal, Result};
use crate::store::{Backoff, Operations, Resource, RetryOverrides, TriggerDetail, TriggerKind};

/// The most attempts that a trigger may ask for, and the longest wait.
pub(in crate::manager) const ATTEMPTS_MAX: i64 = 1000;
pub(in crate::manager) const WAIT_MS_MAX: i64 = 86_400_000;
/// The longest glob or name.
pub(in crate::manager) const NAME_BYTES_MAX: usize = 256;

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

/// Reads a schedule that somebody sends.
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

fn named(field: &str, name: String) -> Result<String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        let reason = format!("must be 1 to {NAME_BYTES_MAX} bytes without NUL");
        return Err(Error::Invalid(Refusal::field(field, &reason)));
    }
    Ok(name)
}

impl On {
    /// The detail, as it is stored.
    pub(super) fn checked(self, now: i64) -> Result<TriggerDetail> {
        Ok(match self {
            Self::Kv { collection, operations } => {
                TriggerDetail::Kv { collection: named("collection", collection)?, operations }
            }
            Self::Cron { schedule, zone, dst, misfire, overlap } => {
                let parsed = parse_schedule(&schedule, &zone, dst)?;
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
