//! From an HTTP request to what a script sees of it.
//!
//! Invariant: a body that is announced as JSON parses, one that is shown as text
//! is UTF-8; the guest relies on it.
//! Invariant: a script never sees who is signed in at the admin API.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Uri};
use picloud_shared::execution::{BodyKind, HttpRequest};

use crate::auth;
use crate::error::Error;
use crate::json;

/// What of a request's envelope a script sees.
pub(super) struct Envelope<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) remote_address: String,
}

/// The request as a script sees it.
///
/// # Errors
/// `Invalid` when the body is announced as JSON and is none, or is nested too deep.
pub(super) fn for_script(
    envelope: &Envelope<'_>,
    params: Vec<(String, String)>,
    body: Vec<u8>,
) -> Result<HttpRequest, Error> {
    let content_type = envelope.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = body_kind(content_type, &body)?;
    Ok(HttpRequest {
        method: envelope.method.to_owned(),
        path: envelope.uri.path().to_owned(),
        params,
        query: query(envelope.uri),
        headers: headers(envelope.headers),
        remote_address: envelope.remote_address.clone(),
        raw: body,
        body: kind,
    })
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Names come once, their values joined as RFC 9110, section 5.3, allows; cookies
/// as RFC 9113, section 8.2.3, says. Bytes that are no text show as replacement
/// characters.
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

fn body_kind(content_type: Option<&str>, body: &[u8]) -> Result<BodyKind, Error> {
    if body.is_empty() {
        return Ok(BodyKind::Empty);
    }
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    if media_type == "application/json" || media_type.ends_with("+json") {
        return match json::check_well_formed(body) {
            Ok(()) => Ok(BodyKind::Json),
            Err(error) => Err(Error::body_invalid(&error)),
        };
    }
    let is_text = media_type.starts_with("text/")
        || matches!(
            media_type.as_str(),
            "application/x-www-form-urlencoded" | "application/xml" | "application/javascript"
        )
        || media_type.ends_with("+xml");
    if is_text && std::str::from_utf8(body).is_ok() {
        return Ok(BodyKind::Text);
    }
    Ok(BodyKind::Binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(content_type: &str, body: &[u8]) -> Option<BodyKind> {
        body_kind(Some(content_type), body).ok()
    }

    #[test]
    fn a_body_is_what_its_type_and_its_bytes_say() {
        assert_eq!(kind("application/json", b"{\"a\":1}"), Some(BodyKind::Json));
        assert_eq!(kind("Application/JSON; charset=utf-8", b"1"), Some(BodyKind::Json));
        assert_eq!(kind("application/problem+json", b"[]"), Some(BodyKind::Json));
        assert_eq!(kind("text/plain", "grün".as_bytes()), Some(BodyKind::Text));
        assert_eq!(kind("text/plain", b"\xff"), Some(BodyKind::Binary));
        assert_eq!(kind("application/x-www-form-urlencoded", b"a=b"), Some(BodyKind::Text));
        assert_eq!(kind("image/png", b"abc"), Some(BodyKind::Binary));
        assert_eq!(kind("application/json", b""), Some(BodyKind::Empty));
        assert_eq!(body_kind(None, b"abc").ok(), Some(BodyKind::Binary));
    }

    #[test]
    fn what_the_guest_could_not_read_is_refused_before_it_runs() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(kind("application/json", deep(127).as_bytes()), Some(BodyKind::Json));
        assert_eq!(kind("application/json", deep(128).as_bytes()), None);
        for body in ["{", "{\"a\":}", "nul", "1 2", "1e999", "\"\\ud800\"", "[1,]"] {
            assert_eq!(kind("application/json", body.as_bytes()), None, "{body}");
        }
    }

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

    #[test]
    fn a_query_is_decoded_in_order() {
        let uri: Uri = "/x/a/b?q=a+b&q=%C3%BC&flag".parse().unwrap();
        let expected = [("q", "a b"), ("q", "ü"), ("flag", "")];
        assert_eq!(query(&uri), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
