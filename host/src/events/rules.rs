//! The rules for names, delays, lifetimes and files. They are the same for scripts and for callers
//! of the API.

use crate::error::{Error, Refusal};

/// The maximum lifetime of an entry: 100 years, in milliseconds.
pub(crate) const TTL_MS_MAX: i64 = 100 * 365 * 24 * 3_600_000;
/// The maximum delay of an event: one year, in milliseconds.
pub(crate) const DELAY_MS_MAX: i64 = 365 * 24 * 3_600_000;
/// The maximum size of a file.
pub(crate) const FILE_BYTES_MAX: usize = 4 << 20;
/// The maximum length of the name of a collection, bucket, queue, topic or operation.
pub(crate) const NAME_BYTES_MAX: usize = 256;
/// The maximum length of a key or path.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

/// A broken rule. Displays as a sentence: "a queue must not be empty".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
pub struct Violation {
    /// The field of the API that holds the value.
    field: &'static str,
    /// The value, as the subject of the sentence.
    what: &'static str,
    /// The rest of the sentence.
    why: String,
}

impl Violation {
    fn new(field: &'static str, what: &'static str, why: impl Into<String>) -> Self {
        Self { field, what, why: why.into() }
    }
}

impl From<Violation> for Error {
    /// 400 `field_invalid`.
    fn from(violation: Violation) -> Self {
        Self::Invalid(Refusal::field(violation.field, &violation.why))
    }
}

/// Checks a name, which must not be empty.
pub(crate) fn check_name(
    field: &'static str,
    what: &'static str,
    name: &str,
    bytes_max: usize,
) -> Result<(), Violation> {
    if name.is_empty() {
        return Err(Violation::new(field, what, "must not be empty"));
    }
    check_text(field, what, name, bytes_max)
}

/// Checks a text, which can be empty.
pub(crate) fn check_text(
    field: &'static str,
    what: &'static str,
    text: &str,
    bytes_max: usize,
) -> Result<(), Violation> {
    if text.len() > bytes_max {
        let why = format!("has {} bytes, at most {bytes_max} are allowed", text.len());
        return Err(Violation::new(field, what, why));
    }
    if text.contains('\0') {
        return Err(Violation::new(field, what, "must not contain NUL"));
    }
    Ok(())
}

/// Returns when an entry written at `now` expires. Both times are in microseconds.
pub(crate) fn expiry(now: i64, ttl_ms: Option<i64>) -> Result<Option<i64>, Violation> {
    match ttl_ms {
        None => Ok(None),
        Some(ttl_ms @ 1..=TTL_MS_MAX) => Ok(Some(now + ttl_ms * 1000)),
        Some(ttl_ms) => {
            let why = format!("must be 1 to {TTL_MS_MAX} ms, not {ttl_ms}");
            Err(Violation::new("ttl_ms", "a ttl", why))
        }
    }
}

/// Checks the delay of an event.
pub(crate) fn check_delay(delay_ms: i64) -> Result<(), Violation> {
    if (0..=DELAY_MS_MAX).contains(&delay_ms) {
        return Ok(());
    }
    let why = format!("must be 0 to {DELAY_MS_MAX} ms, not {delay_ms}");
    Err(Violation::new("delay_ms", "a delay", why))
}

/// Checks the size of a file and its content type.
pub(crate) fn check_file(content: &[u8], content_type: &str) -> Result<(), Violation> {
    check_text("content_type", "a content type", content_type, NAME_BYTES_MAX)?;
    // The content type is sent as a header and shown to users.
    if content_type.contains(char::is_control) {
        let why = "must not contain control characters, such as newlines";
        return Err(Violation::new("content_type", "a content type", why));
    }
    if content.len() > FILE_BYTES_MAX {
        let why = format!("has {} bytes, at most {FILE_BYTES_MAX} are allowed", content.len());
        return Err(Violation::new("content", "the file", why));
    }
    Ok(())
}
