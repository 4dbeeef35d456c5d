//! Checks the response of a script. A malformed one is an error of the script and is not sent.
//!
//! Source: RFC 9110, sections 5 and 15.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue};
use picloud_shared::execution::HttpResponse;

use super::outcome::Response;
use crate::auth::is_platform_cookie;

/// Headers of the connection, which the host sets.
const RESERVED: [HeaderName; 6] =
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// The prefix of the platform's own headers.
const PLATFORM: &str = "x-picloud-";

/// The path that the platform's cookies are sent to.
const API_PATH: &str = "/api";

/// The maximum number of headers of a response.
const HEADERS_MAX: usize = 100;

/// Checks a script's response.
///
/// # Errors
/// A message for the author if the status or a header is invalid.
pub(super) fn check(response: HttpResponse) -> Result<Response, String> {
    let Some(status) = u16::try_from(response.status).ok().filter(|s| (200..=599).contains(s))
    else {
        let status = response.status;
        return Err(format!("the response's status must be 200 to 599, not {status}"));
    };
    if response.headers.len() > HEADERS_MAX {
        return Err(format!(
            "the response has {} headers, at most {HEADERS_MAX} are allowed",
            response.headers.len()
        ));
    }
    let mut headers = Vec::with_capacity(response.headers.len() + 1);
    for (name, value) in response.headers {
        headers.push(check_header(&name, value)?);
    }
    let has_type = headers.iter().any(|(name, _)| name == CONTENT_TYPE.as_str());
    if !has_type && !response.content_type.is_empty() {
        headers.push(check_header(CONTENT_TYPE.as_str(), response.content_type)?);
    }
    // RFC 9110, sections 15.3.5 and 15.4.5: these have no content.
    let body = if matches!(status, 204 | 205 | 304) { Vec::new() } else { response.body };
    Ok(Response { status, headers, body })
}

fn check_header(name: &str, value: String) -> Result<(String, String), String> {
    let known = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{name:?} is not a header name"))?;
    if RESERVED.contains(&known) || known.as_str().starts_with(PLATFORM) {
        return Err(format!("only the server can set the header {known}"));
    }
    if known == SET_COOKIE && is_cookie_of_platform(&value) {
        return Err("a cookie with a name or path of the platform cannot be set".to_owned());
    }
    if HeaderValue::from_str(&value).is_err() {
        return Err(format!(
            "the value of the header {known} contains characters that are not allowed in a header"
        ));
    }
    Ok((known.as_str().to_owned(), value))
}

/// Whether a cookie looks like one of the platform's, or would be sent to its API. A cookie without
/// a name is sent as its value alone, which then looks like a name (RFC 6265bis, section 5.7).
fn is_cookie_of_platform(cookie: &str) -> bool {
    let mut parts = cookie.split(';').map(str::trim);
    let pair = parts.next().unwrap_or_default().trim_start_matches(['=', ' ', '\t']);
    let begins = |text: &str, with: &str| {
        text.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with))
    };
    is_platform_cookie(pair.split('=').next().unwrap_or_default())
        || parts.filter_map(|attribute| attribute.split_once('=')).any(|(name, path)| {
            let path = path.trim();
            let is_api = begins(path, API_PATH)
                && path[API_PATH.len()..].chars().next().is_none_or(|next| next == '/');
            name.trim().eq_ignore_ascii_case("path") && is_api
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(name: &str, value: &str) -> Result<Response, String> {
        check(HttpResponse {
            status: 200,
            headers: vec![(name.to_owned(), value.to_owned())],
            ..HttpResponse::default()
        })
    }

    #[test]
    fn a_status_is_200_to_599() {
        for (status, ok) in
            [(199, false), (200, true), (599, true), (600, false), (-1, false), (65_736, false)]
        {
            let checked = check(HttpResponse { status, ..HttpResponse::default() });
            assert_eq!(checked.is_ok(), ok, "{status}");
        }
    }

    #[test]
    fn no_header_can_end_another() {
        assert!(with_header("x-note", "a\r\nset-cookie: b=c").is_err());
        assert!(with_header("x-note", "a\nb").is_err());
        assert!(with_header("x-note\r\nset-cookie", "b").is_err());
        assert!(with_header("x note", "b").is_err());
        assert!(with_header("", "b").is_err());
        assert!(with_header("x-note", "nul\0").is_err());
        assert!(with_header("x-note", "del\u{7f}").is_err());
        assert!(with_header("x-note", "fine").is_ok());
    }

    #[test]
    fn headers_of_the_connection_are_the_hosts() {
        for name in
            ["Connection", "content-length", "Transfer-Encoding", "upgrade", "X-PiCloud-Fuel"]
        {
            assert!(with_header(name, "1").is_err(), "{name}");
        }
    }

    #[test]
    fn a_cookie_of_the_platform_is_not_a_scripts() {
        for ours in [
            "picloud_session=a",
            "PiCloud_anything=a",
            "=picloud_session=a",
            " = picloud_session=a",
            "__Host-picloud_session=a; Path=/; Secure",
            "__secure-PiCloud_oidc=a",
            "a=b; Path=/api",
            "a=b;path = /api/v1",
            "a=b; Path=/; Path=/API/",
        ] {
            assert!(with_header("Set-Cookie", ours).is_err(), "{ours}");
        }
        for theirs in ["a=picloud_session", "a=b; Path=/", "a=b; Path=/apis", "xpicloud_=a", "ü=a"]
        {
            assert!(!is_cookie_of_platform(theirs), "{theirs}");
        }
    }

    #[test]
    fn an_explicit_content_type_wins() {
        let response = HttpResponse {
            status: 200,
            headers: vec![("Content-Type".to_owned(), "text/html".to_owned())],
            content_type: "application/json".to_owned(),
            ..HttpResponse::default()
        };
        let expected = vec![("content-type".to_owned(), "text/html".to_owned())];
        assert_eq!(check(response).unwrap().headers, expected);
    }

    #[test]
    fn a_response_without_content_has_no_body() {
        let response = HttpResponse { status: 204, body: b"x".to_vec(), ..HttpResponse::default() };
        assert_eq!(check(response).unwrap().body, b"");
    }
}
