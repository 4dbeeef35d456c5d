//! The header `Idempotency-Key`: reading a key, and identifying a request
//! (draft-ietf-httpapi-idempotency-key-header).

use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use crate::error::{Error, Refusal};
use crate::store::{AppId, NewKey};

/// The caller's name for a request, the same for each repetition.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks a response that repeats the first one.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The maximum length of a key, in characters.
const KEY_CHARS_MAX: usize = 255;

/// Returns the key in the headers.
///
/// # Errors
/// `Invalid` for a key that is sent twice, empty, too long or not printable ASCII.
pub fn key_in(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let key = key.to_str().unwrap_or_default();
    let is_printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if keys.next().is_some() || key.is_empty() || key.len() > KEY_CHARS_MAX || !is_printable {
        let reason =
            format!("must be sent once, with 1 to {KEY_CHARS_MAX} printable ASCII characters");
        return Err(Error::Invalid(Refusal::field("Idempotency-Key", &reason)));
    }
    Ok(Some(key.to_owned()))
}

/// Identifies a request by its parts and its body. Each part follows its length, so that no two
/// requests hash the same bytes.
#[must_use]
pub fn fingerprint(parts: &[&[u8]], body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(body);
    hex::encode(hash.finalize())
}

/// Returns a key to store. The same key in another scope is a different key.
#[must_use]
pub fn new_key(app_id: &AppId, scope: String, key: String, fingerprint: String, at: i64) -> NewKey {
    // The id of a message can be longer than a key.
    let is_short = key.len() <= KEY_CHARS_MAX;
    let key = if is_short { key } else { format!("sha256:{}", hex::encode(Sha256::digest(key))) };
    let (app_id, event_id) = (app_id.clone(), uuid::Uuid::nil().into());
    let (answer, answer_when_dropped) = (None, None);
    NewKey {
        app_id,
        scope,
        key,
        fingerprint,
        event_id,
        answer,
        answer_when_dropped,
        created_at: at,
    }
}

/// Returns the error for a key that was used before with another request.
#[must_use]
pub fn reused() -> Error {
    let message = "this Idempotency-Key was already used with another path, query or body: use a \
                   new key for another request";
    Error::Unprocessable(Refusal::new("idempotency_key_reused", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_differs_with_every_part() {
        let all = [
            fingerprint(&[b"/a", b"b"], b"c"),
            fingerprint(&[b"/ab", b""], b"c"),
            fingerprint(&[b"/a", b""], b"bc"),
            fingerprint(&[b"/a", b"b"], b""),
            fingerprint(&[], b"/abc"),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_key_comes_once_and_has_a_largest_size() {
        let with = |keys: &[&str]| {
            let pairs = keys.iter().map(|key| (IDEMPOTENCY_KEY, key.parse().unwrap()));
            key_in(&pairs.collect())
        };
        assert_eq!(with(&[]).unwrap(), None);
        assert_eq!(with(&["k"]).unwrap().as_deref(), Some("k"));
        assert!(with(&[&"k".repeat(KEY_CHARS_MAX)]).is_ok());
        assert!(with(&[&"k".repeat(KEY_CHARS_MAX + 1)]).is_err());
        assert!(with(&[""]).is_err());
        assert!(with(&["a", "b"]).is_err());
    }
}
