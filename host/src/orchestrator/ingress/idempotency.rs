//! Which requests are one and the same: what comes with the same key, by the same caller, to
//! the same route.
//!
//! ```text
//! scope        route, method, credential     elsewhere the same key is another one
//! key          the caller's, or the id of a signed message
//! fingerprint  path, query and body          the same key with another is a 422
//! ```
//!
//! A signed message is known by its id alone: a caller who sends it once more without the secret
//! can change its method, path and query and add headers, and must not have it run again.
//!
//! Invariant: an answer is given again only to a caller who shows the credential of the first
//! request. Where the route asks for none, that is whatever credentials the caller brings.

use axum::http::{HeaderMap, HeaderName, Method, Uri, header};
use sha2::{Digest, Sha256};

use super::admission::Admitted;
use crate::auth::{Caller, Via};
use crate::error::{Error, Refusal};
use crate::orchestrator::Orchestrator;
use crate::requests::mask;
use crate::secrets::is_credential;
use crate::store::{AppId, NewKey, RouteId};

/// A caller's name for a request that may come more than once
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;

/// A request to a route that stores it.
pub(super) struct Keyed<'a> {
    pub(super) app_id: &'a AppId,
    pub(super) route: &'a RouteId,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) admitted: &'a Admitted,
    /// Now, µs.
    pub(super) at: i64,
}

impl Orchestrator {
    /// The key of a request, if it has one.
    ///
    /// # Errors
    /// `Invalid` for one that is empty, too long or no printable ASCII; `Unavailable`.
    pub(super) async fn key_of_request(&self, keyed: &Keyed<'_>) -> Result<Option<NewKey>, Error> {
        let Keyed { app_id, route, method, uri, headers, admitted, at } = *keyed;
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        if let Some(id) = &admitted.message_id {
            let fingerprint =
                fingerprint(&[method.as_str(), path, query].map(str::as_bytes), &admitted.body);
            let scope = format!("message {}", route.as_str());
            return Ok(Some(new_key(app_id, scope, id.clone(), fingerprint, at)));
        }
        let Some(key) = brought(headers)? else { return Ok(None) };
        let credential = match &admitted.credential {
            Some(secret) => format!("secret {secret}"),
            None => self.credentials_of(app_id, keyed).await?,
        };
        let fingerprint = fingerprint(&[path, query].map(str::as_bytes), &admitted.body);
        let scope = format!("route {} {method} {credential}", route.as_str());
        Ok(Some(new_key(app_id, scope, key, fingerprint, at)))
    }

    /// What a caller of an open route shows to its script, as a tag that tells nothing of it:
    /// credentials in headers, the query and a form. Signatures too: only the script knows
    /// whether one is good.
    async fn credentials_of(&self, app_id: &AppId, keyed: &Keyed<'_>) -> Result<String, Error> {
        let mut brought = brought_credentials(keyed);
        if brought.is_empty() {
            return Ok("none".to_owned());
        }
        brought.sort_unstable();
        let mut shown = Vec::new();
        for (place, name, value) in brought {
            for part in [place.as_bytes(), name.as_bytes(), &value] {
                shown.extend_from_slice(&(part.len() as u64).to_le_bytes());
                shown.extend_from_slice(part);
            }
        }
        Ok(format!("brought {}", self.parts.secrets.request_key(app_id).await?.tag(&shown)))
    }
}

/// The credentials of a request: where each is, its name and its value.
fn brought_credentials(keyed: &Keyed<'_>) -> Vec<(&'static str, String, Vec<u8>)> {
    let Keyed { uri, headers, admitted, .. } = keyed;
    let in_headers = headers.iter().filter_map(|(name, value)| {
        let is_theirs = name == header::COOKIE || is_credential(name.as_str());
        is_theirs.then(|| ("header", name.to_string(), value.as_bytes().to_vec()))
    });
    let pairs = |place, text: &[u8]| -> Vec<_> {
        let pairs = form_urlencoded::parse(text);
        let pairs = pairs.filter(|(name, _)| is_credential(name));
        pairs.map(|(name, value)| (place, name.into_owned(), value.as_bytes().to_vec())).collect()
    };
    let query = pairs("query", uri.query().unwrap_or_default().as_bytes());
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let form = if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        pairs("form", &admitted.body)
    } else if mask::body(content_type, &admitted.body) == admitted.body.as_slice() {
        Vec::new()
    } else {
        // One in parts: all of it, which is not taken apart here.
        vec![("form", String::new(), Sha256::digest(&admitted.body).to_vec())]
    };
    in_headers.chain(query).chain(form).collect()
}

/// The key of messages that somebody sends through the API.
///
/// # Errors
/// As [`Orchestrator::key_of_request`].
pub(super) fn key_of_caller(
    headers: &HeaderMap,
    caller: &Caller,
    app_id: &AppId,
    body: &[u8],
    at: i64,
) -> Result<Option<NewKey>, Error> {
    let Some(key) = brought(headers)? else { return Ok(None) };
    let with = match &caller.via {
        Via::ApiKey(grant) => grant.id.as_str(),
        Via::OwnerKey | Via::Session(_) => "",
    };
    let scope = format!("events {} {with}", caller.principal);
    Ok(Some(new_key(app_id, scope, key, fingerprint(&[], body), at)))
}

/// The key in the headers.
fn brought(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let key = key.to_str().unwrap_or_default();
    let is_printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if keys.next().is_some() || key.is_empty() || key.len() > KEY_CHARS_MAX || !is_printable {
        let reason =
            format!("must come once and be 1 to {KEY_CHARS_MAX} printable ASCII characters");
        return Err(Error::Invalid(Refusal::field("Idempotency-Key", &reason)));
    }
    Ok(Some(key.to_owned()))
}

/// The parts after their lengths, so that no two requests have the same bytes, and the body.
fn fingerprint(parts: &[&[u8]], body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(body);
    hex::encode(hash.finalize())
}

fn new_key(app_id: &AppId, scope: String, key: String, fingerprint: String, at: i64) -> NewKey {
    // An id of a message may be longer than a key.
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

/// A key came before with another request.
pub(super) fn reused() -> Error {
    let message = "this Idempotency-Key came before with another path, query or body: use a new \
                   key for another request";
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
            brought(&pairs.collect())
        };
        assert_eq!(with(&[]).unwrap(), None);
        assert_eq!(with(&["k"]).unwrap().as_deref(), Some("k"));
        assert!(with(&[&"k".repeat(KEY_CHARS_MAX)]).is_ok());
        assert!(with(&[&"k".repeat(KEY_CHARS_MAX + 1)]).is_err());
        assert!(with(&[""]).is_err());
        assert!(with(&["a", "b"]).is_err());
    }
}
