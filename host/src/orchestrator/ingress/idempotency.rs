//! Decides which requests are the same: those with the same key, from the same caller, to the same
//! route.
//!
//! ```text
//! scope        route, method, credential     a key means nothing in another scope
//! key          the caller's, or the id of a signed message
//! fingerprint  path, query and body          a known key with another one is a 422
//! ```
//!
//! A signed message is identified by its id alone. A caller without the secret can resend it with
//! another method, path, query or extra headers. Such a copy must not run again.
//!
//! Invariant: a stored response is only sent to a caller that shows the credential of the first
//! request. On an open route, that is every credential in the request.

use axum::http::{HeaderMap, Method, Uri, header};
use sha2::{Digest, Sha256};

use super::admission::Admitted;
use crate::error::Error;
use crate::orchestrator::Orchestrator;
use crate::requests::idempotency::{fingerprint, key_in, new_key};
use crate::requests::mask;
use crate::secrets::is_credential;
use crate::store::{AppId, NewKey, RouteId};

/// A request to a route that stores its requests.
pub(super) struct Keyed<'a> {
    pub(super) app_id: &'a AppId,
    pub(super) route: &'a RouteId,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) admitted: &'a Admitted,
    /// The current time, µs.
    pub(super) at: i64,
}

impl Orchestrator {
    /// Returns the idempotency key of a request, if it has one.
    ///
    /// # Errors
    /// `Invalid` if the key is empty, too long or not printable ASCII; `Unavailable`.
    pub(super) async fn key_of_request(&self, keyed: &Keyed<'_>) -> Result<Option<NewKey>, Error> {
        let Keyed { app_id, route, method, uri, headers, admitted, at } = *keyed;
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        if let Some(id) = &admitted.message_id {
            let fingerprint =
                fingerprint(&[method.as_str(), path, query].map(str::as_bytes), &admitted.body);
            let scope = format!("message {}", route.as_str());
            return Ok(Some(new_key(app_id, scope, id.clone(), fingerprint, at)));
        }
        let Some(key) = key_in(headers)? else { return Ok(None) };
        let credential = match &admitted.credential {
            Some(secret) => format!("secret {secret}"),
            None => self.credentials_of(app_id, keyed).await?,
        };
        let fingerprint = fingerprint(&[path, query].map(str::as_bytes), &admitted.body);
        let scope = format!("route {} {method} {credential}", route.as_str());
        Ok(Some(new_key(app_id, scope, key, fingerprint, at)))
    }

    /// Returns a tag that stands for the credentials in a request to an open route, but reveals
    /// nothing about them. They are in headers, the query and a form. Signatures count too, because
    /// only the script can check them.
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

/// Returns the credentials of a request: the place, name and value of each.
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
        // A multipart form is not parsed here, so all of it counts.
        vec![("form", String::new(), Sha256::digest(&admitted.body).to_vec())]
    };
    in_headers.chain(query).chain(form).collect()
}
