//! Finds the values of a caller's credentials, so that they are masked where a script repeats them:
//! many scripts call `log::info(ctx.request)`. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use picloud_shared::execution::HttpRequest;

use crate::secrets::{SecretValue, is_credential};

/// Shorter values are ignored: a parameter `key` is often a name, so common words would be masked.
const CHARS_MIN: usize = 8;

/// Returns the values of the credentials in a request's headers, parameters and form fields. Each
/// cookie is also listed on its own, and an `Authorization` also without its scheme.
#[must_use]
pub fn credentials(request: &HttpRequest) -> Vec<SecretValue> {
    let pairs = [&request.headers, &request.params, &request.query, &request.form];
    let secret = pairs.into_iter().flatten().filter(|(name, _)| is_credential(name));
    let mut values = Vec::new();
    for (name, value) in secret {
        values.push(value.clone());
        if name == COOKIE.as_str() {
            let cookies = value.split(';').filter_map(|pair| pair.split_once('='));
            values.extend(cookies.map(|(_, value)| value.trim().to_owned()));
        } else if name == AUTHORIZATION.as_str() || name == PROXY_AUTHORIZATION.as_str() {
            values.extend(without_scheme(value));
        }
    }
    values.retain(|value| value.chars().count() >= CHARS_MIN);
    values.into_iter().map(SecretValue::from).collect()
}

/// Returns the credentials after the scheme (RFC 9110, section 11.4), and the password in them for
/// Basic (RFC 7617).
fn without_scheme(value: &str) -> Vec<String> {
    let Some((scheme, rest)) = value.split_once(' ') else { return Vec::new() };
    let mut values = vec![rest.trim().to_owned()];
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) = STANDARD.decode(rest.trim())
        && let Ok(pair) = String::from_utf8(pair)
        && let Some((_, password)) = pair.split_once(':')
    {
        values.push(password.to_owned());
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_credential_is_found_by_its_value() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = HttpRequest {
            headers: vec![
                pair("authorization", "Basic YWRhOmxvbmcgcGFzc3dvcmQ="),
                pair("cookie", "a=first-value; b=second-value; c=short"),
                pair("content-type", "application/x-www-form-urlencoded"),
                pair("x-api-key", "key-of-the-header"),
            ],
            params: vec![pair("token", "token-of-the-path"), pair("id", "0123456789")],
            query: vec![pair("key", "orders"), pair("signature", "signature-of-it")],
            form: vec![pair("user", "somebody-else"), pair("newPassword", "in the form")],
            ..HttpRequest::default()
        };
        let values = credentials(&request);
        let values: Vec<_> = values.iter().map(SecretValue::reveal).collect();
        assert_eq!(
            values,
            [
                "Basic YWRhOmxvbmcgcGFzc3dvcmQ=",
                "YWRhOmxvbmcgcGFzc3dvcmQ=",
                "long password",
                "a=first-value; b=second-value; c=short",
                "first-value",
                "second-value",
                "key-of-the-header",
                "token-of-the-path",
                "signature-of-it",
                "in the form",
            ]
        );
    }
}
