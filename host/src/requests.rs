//! Stored requests, and the parts of a request that can be shown.
//!
//! ```text
//! coding   decompression of a body
//! body     a body as a script sees it: JSON, text (`charset`), the fields and files of a `form`
//! mask     removal of credentials, by the names of headers, parameters and form fields
//!
//!  request ─▶ stored: masked, with the originals in `sealed`
//!                ├─▶ shown   without `sealed`
//!                ├─▶ run     with the originals restored
//!                └─▶ again   the same, edited or not, sealed again
//! ```
//!
//! Invariant: no credential of a caller is stored or shown in clear. Rows of older releases stay in
//! clear until they are done or deleted. They are shown masked, and sealed when they are replayed.

pub mod body;
mod charset;
pub mod coding;
pub mod form;
pub mod idempotency;
pub mod mask;
mod media_type;
mod refusals;
mod values;

pub use body::foreign_text;
pub use values::credentials;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use picloud_shared::execution::{BodyKind, HttpRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use body::Shape;
use form::FormLimits;

use crate::clock::Clock;
use crate::json;
use crate::secrets::{self, RequestKey, Secrets};
use crate::store::{AppId, Json};

/// Names and values, in order.
pub type Pairs = Vec<(String, String)>;

/// A stored request. The body is base64, which preserves every byte.
#[derive(Clone, Serialize, Deserialize)]
struct StoredRequest {
    method: String,
    path: String,
    params: Pairs,
    query: Pairs,
    /// The query as received; `None` in a row of an older release, or if it equals `query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_query: Option<String>,
    headers: Pairs,
    remote_address: String,
    body: String,
    body_kind: BodyKind,
    /// The masked values: [`Originals`] as JSON, sealed. `None` if nothing was masked, or in a row
    /// of an older release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// The values that were masked in a request.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Originals {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    params: Pairs,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    query: Pairs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_query: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Pairs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

/// The sealed values cannot be opened: their master key is lost, or they are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the credentials in the stored request are sealed with a master key that this server does \
     not have"
)]
pub struct CredentialsLost;

/// The error of reading a stored request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sealed values cannot be opened.
    #[error(transparent)]
    Lost(#[from] CredentialsLost),
    /// The key could not be found or created.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The body of an edited request is invalid, with the reason.
    #[error("{0}")]
    Body(String),
    /// Never in practice: every part has a JSON form.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Returns the payload of a request to store, with its credentials sealed by a key of its app.
///
/// # Errors
/// `Secrets` if the key cannot be found or created.
pub async fn to_store(
    (secrets, clock): (&Secrets, &Clock),
    app_id: &AppId,
    request: &HttpRequest,
) -> Result<Json, Error> {
    let clear = StoredRequest {
        method: request.method.clone(),
        path: request.path.clone(),
        params: request.params.clone(),
        query: request.query.clone(),
        raw_query: Some(request.raw_query.clone())
            .filter(|raw_query| *raw_query != written(&request.query)),
        headers: request.headers.clone(),
        remote_address: request.remote_address.clone(),
        body: STANDARD.encode(&request.raw),
        body_kind: request.body,
        sealed: None,
    };
    seal((secrets, clock), app_id, clear).await
}

/// Returns the request stored in this payload; `None` if the payload is not a request.
///
/// # Errors
/// `Lost`, `Secrets`.
pub async fn of_stored(
    secrets: &Secrets,
    app_id: &AppId,
    payload: &Json,
    limits: &FormLimits,
) -> Result<Option<HttpRequest>, Error> {
    let Ok(stored) = payload.to::<StoredRequest>() else { return Ok(None) };
    let stored = unsealed(secrets, app_id, stored).await?;
    let Ok(raw) = STANDARD.decode(stored.body) else { return Ok(None) };
    // The shape was valid when the request was stored; after an edit it can be invalid.
    let shape = body::shape(content_type(&stored.headers), &raw, limits).await;
    let shape = shape.unwrap_or_else(|_| Shape { kind: stored.body_kind, ..Shape::default() });
    // The query can have been edited.
    let raw_query = stored.raw_query.filter(|raw_query| read_query(raw_query) == stored.query);
    Ok(Some(HttpRequest {
        method: stored.method,
        path: stored.path,
        params: stored.params,
        raw_query: raw_query.unwrap_or_else(|| written(&stored.query)),
        query: stored.query,
        headers: stored.headers,
        remote_address: stored.remote_address,
        raw,
        body: shape.kind,
        text: shape.text,
        form: shape.form.fields,
        files: shape.form.files,
    }))
}

/// Returns the names and values of a query, decoded, in order.
#[must_use]
pub fn read_query(query: &str) -> Pairs {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn written(query: &Pairs) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish()
}

/// Returns a stored request in the form that can be shown.
#[must_use]
pub fn shown(payload: &Json) -> Value {
    match payload.to::<StoredRequest>() {
        Ok(stored) => {
            let (masked, _) = masked(stored);
            serde_json::to_value(StoredRequest { sealed: None, ..masked }).unwrap_or_default()
        }
        Err(_) => payload.value().unwrap_or_else(|_| Value::from(payload.as_str())),
    }
}

/// Returns the payload of a stored request that runs again, sealed again. If `edited` is given, it
/// replaces the stored request; its masked values keep their originals.
///
/// # Errors
/// As for [`of_stored`]; `Lost` only if a masked value needs its original; `Body`.
pub async fn again(
    place: (&Secrets, &Clock),
    app_id: &AppId,
    payload: &Json,
    edited: Option<&Value>,
) -> Result<Json, Error> {
    let Ok(stored) = payload.to::<StoredRequest>() else {
        return Ok(
            edited.map_or_else(|| payload.clone(), |edited| Json::from_text(edited.to_string()))
        );
    };
    let Some(edited) = edited else {
        let clear = unsealed(place.0, app_id, stored).await?;
        return seal(place, app_id, clear).await;
    };
    let Ok(new) = serde_json::from_value::<StoredRequest>(edited.clone()) else {
        return Ok(Json::from_text(edited.to_string()));
    };
    check_body(&new)?;
    // A row of an older release has its originals in clear.
    let originals = match opened(place.0, app_id, &stored).await {
        Ok(None) => masked(stored).1,
        Ok(Some(originals)) => originals,
        Err(Error::Lost(lost)) if has_masks(&new) => return Err(lost.into()),
        Err(Error::Lost(_)) => Originals::default(),
        Err(error) => return Err(error),
    };
    let clear = StoredRequest { sealed: None, ..filled(new, originals) };
    seal(place, app_id, clear).await
}

/// Refuses a body that the script could not read.
fn check_body(request: &StoredRequest) -> Result<(), Error> {
    let body = STANDARD.decode(&request.body);
    let body = body.map_err(|error| Error::Body(format!("body is not base64: {error}")))?;
    if request.body_kind == BodyKind::Json {
        json::check_well_formed(&body)
            .map_err(|error| Error::Body(format!("body is not valid JSON: {error}")))?;
    }
    Ok(())
}

async fn seal(
    (secrets, clock): (&Secrets, &Clock),
    app_id: &AppId,
    clear: StoredRequest,
) -> Result<Json, Error> {
    let (mut masked, originals) = masked(clear);
    if originals != Originals::default() {
        let key: RequestKey = secrets.request_key(app_id).await?;
        let text = zeroize::Zeroizing::new(serde_json::to_string(&originals)?);
        masked.sealed = Some(key.seal(clock, &text)?);
    }
    Ok(Json::of(&masked)?)
}

async fn unsealed(
    secrets: &Secrets,
    app_id: &AppId,
    stored: StoredRequest,
) -> Result<StoredRequest, Error> {
    match opened(secrets, app_id, &stored).await? {
        Some(originals) => Ok(StoredRequest { sealed: None, ..filled(stored, originals) }),
        None => Ok(stored),
    }
}

async fn opened(
    secrets: &Secrets,
    app_id: &AppId,
    stored: &StoredRequest,
) -> Result<Option<Originals>, Error> {
    let Some(sealed) = &stored.sealed else { return Ok(None) };
    let text = secrets.open_request(app_id, sealed).await?.ok_or(CredentialsLost)?;
    Ok(Some(serde_json::from_str(&text).map_err(|_| CredentialsLost)?))
}

/// Returns the request with credentials masked, and their values.
fn masked(mut request: StoredRequest) -> (StoredRequest, Originals) {
    let mut originals = Originals::default();
    let shown = mask::path(&request.path, &request.params).into_owned();
    if shown != request.path {
        originals.path = Some(std::mem::replace(&mut request.path, shown));
    }
    let parameter = |name: &str, value: &str| mask::parameter(name, value).to_owned();
    originals.params = mask_pairs(&mut request.params, parameter);
    originals.query = mask_pairs(&mut request.query, parameter);
    if let Some(raw_query) = &mut request.raw_query {
        let shown = mask::query(raw_query).into_owned();
        if shown != *raw_query {
            originals.raw_query = Some(std::mem::replace(raw_query, shown));
        }
    }
    let shown = masked_body(&request);
    originals.headers = mask_headers(&mut request.headers);
    if let Some(shown) = shown.filter(|shown| *shown != request.body) {
        originals.body = Some(std::mem::replace(&mut request.body, shown));
    }
    (request, originals)
}

/// Masks the values of credentials. Returns their names and values.
pub fn mask_headers(headers: &mut Pairs) -> Pairs {
    mask_pairs(headers, |name, value| mask::header(name, value).into_owned())
}

/// Restores values that [`mask_headers`] has masked.
pub fn fill_headers(headers: &mut Pairs, originals: Pairs) {
    fill_pairs(headers, originals, |name, value| mask::header(name, value).into_owned());
}

fn mask_pairs(pairs: &mut Pairs, shown: impl Fn(&str, &str) -> String) -> Pairs {
    let mut originals = Pairs::new();
    for (name, value) in pairs {
        let masked = shown(name, value);
        if masked != *value {
            originals.push((name.clone(), std::mem::replace(value, masked)));
        }
    }
    originals
}

/// Returns the body with credentials masked, in base64, if it contains any.
fn masked_body(request: &StoredRequest) -> Option<String> {
    let raw = STANDARD.decode(&request.body).ok()?;
    match mask::body(content_type(&request.headers), &raw) {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(shown) => Some(STANDARD.encode(shown)),
    }
}

fn content_type(headers: &Pairs) -> &str {
    let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()));
    found.map_or("", |(_, value)| value)
}

/// Restores the originals wherever the request shows their masked form.
fn filled(mut request: StoredRequest, originals: Originals) -> StoredRequest {
    if let Some(path) = originals.path
        && mask::path(&path, &originals.params) == request.path
    {
        request.path = path;
    }
    let parameter = |name: &str, value: &str| mask::parameter(name, value).to_owned();
    fill_pairs(&mut request.params, originals.params, parameter);
    fill_pairs(&mut request.query, originals.query, parameter);
    if let Some(raw_query) = originals.raw_query
        && request.raw_query.as_deref() == Some(&mask::query(&raw_query))
    {
        request.raw_query = Some(raw_query);
    }
    fill_headers(&mut request.headers, originals.headers);
    if let Some(body) = originals.body {
        let original = StoredRequest { body, ..request.clone() };
        if masked_body(&original).as_ref() == Some(&request.body) {
            request.body = original.body;
        }
    }
    request
}

fn fill_pairs(pairs: &mut Pairs, mut originals: Pairs, shown: impl Fn(&str, &str) -> String) {
    for (name, value) in pairs {
        let fits = |(of, original): &(String, String)| of == name && shown(of, original) == *value;
        if let Some(place) = originals.iter().position(fits) {
            *value = originals.remove(place).1;
        }
    }
}

/// Whether a masked value still needs its original.
fn has_masks(request: &StoredRequest) -> bool {
    let is_mask =
        |(name, value): &(String, String)| value == secrets::MASK && secrets::is_credential(name);
    let pairs = [&request.params, &request.query, &request.headers];
    let body = STANDARD.decode(&request.body).unwrap_or_default();
    pairs.into_iter().flatten().any(is_mask)
        || masked_body(request).is_some()
            && memchr::memmem::find(&body, secrets::MASK.as_bytes()).is_some()
}

#[cfg(test)]
mod tests;
