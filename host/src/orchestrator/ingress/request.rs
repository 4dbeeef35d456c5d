//! Turns an HTTP request into the request that a script sees.
//!
//! Invariant: a script never sees the cookies of the admin API.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Uri};
use picloud_shared::execution::HttpRequest;

use crate::auth;
use crate::error::Error;
use crate::requests::coding::Coding;
use crate::requests::form::FormLimits;
use crate::requests::{body, read_query};
use crate::serving::HeldBody;

/// The parts of a request, besides its body, that a script sees.
pub(in crate::orchestrator) struct Envelope<'a> {
    pub(in crate::orchestrator) method: &'a str,
    pub(in crate::orchestrator) uri: &'a Uri,
    pub(in crate::orchestrator) headers: &'a HeaderMap,
    pub(in crate::orchestrator) remote_address: String,
}

/// Returns the request as a script sees it.
///
/// # Errors
/// - `Invalid` if the body is not the JSON or the form that its content type names.
/// - `TooLarge` if a form has too many fields or files.
pub(in crate::orchestrator) async fn for_script(
    envelope: &Envelope<'_>,
    params: Vec<(String, String)>,
    body: Vec<u8>,
    limits: &FormLimits,
) -> Result<HttpRequest, Error> {
    let content_type = envelope.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let shape = body::shape(content_type.unwrap_or_default(), &body, limits).await?;
    let raw_query = envelope.uri.query().unwrap_or_default();
    Ok(HttpRequest {
        method: envelope.method.to_owned(),
        path: envelope.uri.path().to_owned(),
        params,
        query: read_query(raw_query),
        raw_query: raw_query.to_owned(),
        headers: headers(envelope.headers),
        remote_address: envelope.remote_address.clone(),
        raw: body,
        body: shape.kind,
        text: shape.text,
        form: shape.form.fields,
        files: shape.form.files,
    })
}

/// Decompresses the body and removes `Content-Encoding` and `Content-Length`. The decompressed size
/// counts against the memory of all bodies.
///
/// # Errors
/// - `Unsupported` if the coding is unknown.
/// - `TooLarge` if the body expands to more than `bytes_max` bytes.
/// - `Invalid` if the body is damaged.
/// - `Unavailable` if all bodies together take too much memory.
pub(in crate::orchestrator) async fn decoded(
    headers: &mut HeaderMap,
    body: Vec<u8>,
    bytes_max: usize,
    held: Option<&HeldBody>,
) -> Result<Vec<u8>, Error> {
    let Some(coding) = Coding::of(headers)?.filter(|_| !body.is_empty()) else {
        return Ok(body);
    };
    let decoded = coding.decode(body, bytes_max).await?;
    if let Some(held) = held {
        held.hold(decoded.len())?;
    }
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    Ok(decoded)
}

/// Returns the headers, each name once. Values are joined as RFC 9110, section 5.3, and for cookies
/// RFC 9113, section 8.2.3, define. Invalid UTF-8 becomes replacement characters.
fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = Vec::with_capacity(headers.keys_len());
    for name in headers.keys() {
        let separator = if name == http::header::COOKIE { "; " } else { ", " };
        let values = headers.get_all(name).iter();
        let values: Vec<_> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let mut joined = values.join(separator);
        if name == http::header::COOKIE {
            joined = auth::without_platform_cookies(&joined);
            if joined.is_empty() {
                continue;
            }
        }
        list.push((name.as_str().to_owned(), joined));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_header_are_joined() {
        let mut map = HeaderMap::new();
        for (name, value) in
            [("accept", "a"), ("accept", "b"), ("cookie", "c=1"), ("cookie", "d=2")]
        {
            map.append(name, value.parse().unwrap());
        }
        let mut list = headers(&map);
        list.sort();
        let expected = [("accept", "a, b"), ("cookie", "c=1; d=2")];
        assert_eq!(list, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_cookie_of_a_session_is_not_for_scripts() {
        let seen = |cookie: &str| {
            let map = HeaderMap::from_iter([(http::header::COOKIE, cookie.parse().unwrap())]);
            headers(&map).first().map(|(_, value)| value.clone())
        };
        assert_eq!(seen("a=1; picloud_session=s; b=2").as_deref(), Some("a=1; b=2"));
        assert_eq!(seen("picloud_session=s"), None);
        assert_eq!(seen("a=1; __Host-picloud_session=s").as_deref(), Some("a=1"));
        assert_eq!(seen("__Host-picloud_oidc=s"), None);
    }
}
