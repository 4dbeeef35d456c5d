//! The limits on the size and depth of payloads and values, the same for every source.
//!
//! ```text
//! script          queue::send  pubsub::publish  scripts::enqueue  scripts::call  kv.set ─┐
//! API, CLI        events  fire  replay with another payload  a key ───────────────────────┼─▶ check
//! test panel      an event ────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The size is [`Limits::value_bytes_max`](crate::limits::Limits::value_bytes_max), the setting
//! `PICLOUD_MAX_VALUE_BYTES`; the depth is [`DEPTH_MAX`].
//!
//! The bodies of HTTP requests are not payloads. They are stored as bytes, and [`crate::json`]
//! checks them.
//!
//! Invariant: a script can read every accepted payload, as its event and inside a dead letter.

use serde_json::Value;

use crate::error::{Error, Refusal};
use crate::store::TriggerKind;

/// The maximum nesting of a payload or value. A script can read it nested in an event in a dead
/// letter, and the guest reads at most 127 levels.
pub const DEPTH_MAX: usize = 64;

/// The maximum number of bytes around the payload in an event's details.
const AROUND_BYTES_MAX: u64 = 16 << 10;

/// The reason why a payload or value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is too large.
    #[error("has {used} bytes as JSON, at most {most} are allowed")]
    Bytes {
        /// Its size as JSON, in bytes.
        used: u64,
        /// The maximum size, in bytes.
        most: u64,
    },
    /// It nests too deep.
    #[error("nests {used} levels deep, at most {DEPTH_MAX} are allowed")]
    Depth {
        /// Its nesting depth.
        used: usize,
    },
}

impl From<Refused> for Error {
    /// 413 `payload_too_large`, or 400 `payload_too_deep`.
    fn from(refused: Refused) -> Self {
        let message = format!("the payload {refused}");
        match refused {
            Refused::Bytes { used, most } => {
                let refusal = Refusal::new("payload_too_large", message);
                let refusal = refusal.with("limit", "value_bytes").with("used", used);
                Self::TooLarge(refusal.with("most", most))
            }
            Refused::Depth { used } => {
                let refusal = Refusal::new("payload_too_deep", message);
                let refusal = refusal.with("limit", "value_depth").with("used", used);
                Self::Invalid(refusal.with("most", DEPTH_MAX))
            }
        }
    }
}

/// Checks a payload or value in JSON.
///
/// # Errors
/// Fails if it has more than `bytes_max` bytes or nests deeper than [`DEPTH_MAX`].
pub fn check(json: &str, bytes_max: u64) -> Result<(), Refused> {
    let used = json.len() as u64;
    if used > bytes_max {
        return Err(Refused::Bytes { used, most: bytes_max });
    }
    match depth_of(json) {
        used if used > DEPTH_MAX => Err(Refused::Depth { used }),
        _ => Ok(()),
    }
}

/// Checks the details of a caller's event: each payload in them with [`check`], and the size of the
/// whole.
///
/// # Errors
/// Same as [`check`].
pub fn check_details(kind: TriggerKind, details: &Value, bytes_max: u64) -> Result<(), Refused> {
    let used = details.to_string().len() as u64;
    let most = bytes_max.saturating_add(AROUND_BYTES_MAX);
    if used > most {
        return Err(Refused::Bytes { used, most });
    }
    check_inside(details, levels_around(kind), bytes_max)
}

/// Returns the number of objects around the payload. For a dead letter these are its details, its
/// event, and that event's details.
fn levels_around(kind: TriggerKind) -> usize {
    if kind == TriggerKind::DeadLetter { 3 } else { 1 }
}

/// Checks every value inside `levels` objects.
fn check_inside(value: &Value, levels: usize, bytes_max: u64) -> Result<(), Refused> {
    match (levels, value) {
        (1.., Value::Object(members)) => {
            members.values().try_for_each(|member| check_inside(member, levels - 1, bytes_max))
        }
        _ => check(&value.to_string(), bytes_max),
    }
}

/// Returns the nesting depth of JSON text.
fn depth_of(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(
            json!(1),
            |value, n| if n % 2 == 0 { json!([value]) } else { json!({"a": value}) },
        )
    }

    #[test]
    fn a_payload_nests_so_deep_and_no_deeper() {
        assert_eq!(check(&nested(DEPTH_MAX).to_string(), 10_000), Ok(()));
        let used = DEPTH_MAX + 1;
        assert_eq!(check(&nested(used).to_string(), 10_000), Err(Refused::Depth { used }));
        let text = json!("[[\"{".repeat(1000)).to_string();
        assert_eq!(check(&text, 10_000), Ok(()));
        assert_eq!(check("12345", 4), Err(Refused::Bytes { used: 5, most: 4 }));
    }

    #[test]
    fn only_brackets_outside_of_texts_nest() {
        for (json, depth) in [("1", 0), ("[]", 1), ("[[1],{\"a\":[]}]", 3), (r#"["[[[\"[["]"#, 1)] {
            assert_eq!(depth_of(json), depth, "{json}");
        }
    }

    #[test]
    fn the_details_of_every_kind_take_the_same_payload() {
        for (kind, around) in [
            (
                TriggerKind::Queue,
                (|payload| json!({"queue": "q", "payload": payload})) as fn(Value) -> Value,
            ),
            (TriggerKind::Kv, |payload| json!({"collection": "c", "key": "k", "value": payload})),
            (
                TriggerKind::DeadLetter,
                |payload| json!({"id": "x", "event": {"kind": "queue", "queue": {"queue": "q", "payload": payload}}}),
            ),
        ] {
            let deepest = around(nested(DEPTH_MAX));
            assert_eq!(check_details(kind, &deepest, 10_000), Ok(()), "{kind:?}");
            let used = DEPTH_MAX + 1;
            let refused = check_details(kind, &around(nested(used)), 10_000);
            assert_eq!(refused, Err(Refused::Depth { used }), "{kind:?}");
            let largest = around(json!("x".repeat(98)));
            assert_eq!(check_details(kind, &largest, 100), Ok(()), "{kind:?}");
            let refused = check_details(kind, &around(json!("x".repeat(99))), 100);
            assert_eq!(refused, Err(Refused::Bytes { used: 101, most: 100 }), "{kind:?}");
        }
        let many: Value = (0..2_000).map(|n| (format!("member-{n:06}"), json!(n))).collect();
        assert!(check_details(TriggerKind::Queue, &many, 100).is_err());
    }
}
