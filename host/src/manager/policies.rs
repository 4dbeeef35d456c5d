//! Validates and normalises the policies of routes and apps. Pure.

pub(super) mod shape;

use axum::http::{HeaderName, Uri};

use super::secrets::check_name;
use crate::error::{Error, Refusal, Result};
use crate::store::{Cors, CustomSignature, HmacAuth, RateLimit, RouteAuth, RoutePolicy};

/// The most requests of a rate limit.
pub(super) const REQUESTS_MAX: u32 = 1_000_000;
/// The longest rate period, CORS max age and signature tolerance: a day.
pub(super) const DAY_S: u32 = 86_400;
/// The most requests run at the same time.
pub(super) const CONCURRENCY_MAX: u32 = 10_000;
/// The most secrets of a route: the current one, and those that are being rotated.
pub(super) const SECRETS_MAX: usize = 5;
/// The most origins or headers of a route.
pub(super) const LISTED_MAX: usize = 50;
/// The longest text in a policy, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 255;
/// Stands for all origins or headers.
const ALL: &str = "*";
/// Stands for opaque origins, which cannot be allowed (Fetch, section 3.2.2, `Origin` header).
const NULL_ORIGIN: &str = "null";

/// Validates a policy and normalises its origins and header names for comparison.
///
/// # Errors
/// `Invalid` with the field.
pub(super) fn checked(policy: RoutePolicy) -> Result<RoutePolicy> {
    check_limits(policy.rate_limit.as_ref(), policy.concurrency_max)?;
    let auth = checked_auth(policy.auth)?;
    let cors = policy.cors.as_ref().map(checked_cors).transpose()?;
    Ok(RoutePolicy { auth, cors, ..policy })
}

/// # Errors
/// `Invalid` with the field.
pub(super) fn check_limits(rate: Option<&RateLimit>, concurrency_max: Option<u32>) -> Result<()> {
    if let Some(rate) = rate {
        within("rate_limit.requests", rate.requests, 1, REQUESTS_MAX)?;
        within("rate_limit.per_s", rate.per_s, 1, DAY_S)?;
    }
    concurrency_max.map_or(Ok(()), |most| within("concurrency_max", most, 1, CONCURRENCY_MAX))
}

fn checked_auth(auth: RouteAuth) -> Result<RouteAuth> {
    if !auth.is_none() {
        check_secrets(auth.secrets())?;
    }
    Ok(match auth {
        RouteAuth::None {} => RouteAuth::None {},
        RouteAuth::Unknown => {
            return Err(Error::Invalid(Refusal::field("auth", "cannot be unknown")));
        }
        RouteAuth::Key { secrets, header } => {
            let header = header.map(|name| header_name("auth.header", &name)).transpose()?;
            RouteAuth::Key { secrets, header }
        }
        RouteAuth::Basic { user, secrets } => {
            let is_user = (1..=TEXT_BYTES_MAX).contains(&user.len())
                && !user.contains(|c: char| c == ':' || c.is_control());
            let reason = "must be 1 to 255 bytes without a colon";
            if !is_user {
                return Err(invalid("auth.user", reason));
            }
            RouteAuth::Basic { user, secrets }
        }
        RouteAuth::Hmac(hmac) => RouteAuth::Hmac(checked_hmac(hmac)?),
    })
}

fn check_secrets(names: &[String]) -> Result<()> {
    if !(1..=SECRETS_MAX).contains(&names.len()) {
        return Err(invalid("auth.secrets", "must be the names of 1 to 5 secrets"));
    }
    if names.iter().all(|name| check_name(name).is_ok()) {
        Ok(())
    } else {
        Err(invalid("auth.secrets", "must be names of secrets"))
    }
}

fn checked_hmac(hmac: HmacAuth) -> Result<HmacAuth> {
    if hmac.preset.is_some() == hmac.custom.is_some() {
        return Err(invalid("auth.preset", "or auth.custom must be given, but not both"));
    }
    hmac.tolerance_s.map_or(Ok(()), |s| within("auth.tolerance_s", s, 1, DAY_S))?;
    let custom = hmac.custom.map(checked_signature).transpose()?;
    Ok(HmacAuth { custom, ..hmac })
}

fn checked_signature(custom: CustomSignature) -> Result<CustomSignature> {
    let header = header_name("auth.custom.header", &custom.header)?;
    let named = custom.timestamp_header.map(|n| header_name("auth.custom.timestamp_header", &n));
    let timestamp_header = named.transpose()?;
    if custom.prefix.len() > TEXT_BYTES_MAX || custom.signed.len() > TEXT_BYTES_MAX {
        return Err(invalid("auth.custom", "has a text of more than 255 bytes"));
    }
    let counts = |placeholder| custom.signed.matches(placeholder).count();
    if counts("{body}") != 1 {
        return Err(invalid("auth.custom.signed", "must contain {body} exactly once"));
    }
    // An unsigned timestamp can be changed by an attacker that replays an old message.
    if (counts("{timestamp}") == 0) != timestamp_header.is_none() {
        let reason = "must contain {timestamp} if and only if there is a timestamp_header";
        return Err(invalid("auth.custom.signed", reason));
    }
    Ok(CustomSignature { header, timestamp_header, ..custom })
}

fn checked_cors(cors: &Cors) -> Result<Cors> {
    within("cors.max_age_s", cors.max_age_s, 0, DAY_S)?;
    let origins: Vec<String> = cors.origins.iter().map(|o| origin(o)).collect::<Result<_>>()?;
    if !(1..=LISTED_MAX).contains(&origins.len()) {
        return Err(invalid("cors.origins", "must be 1 to 50 origins"));
    }
    let has_all = |list: &[String]| list.iter().any(|name| name == ALL);
    if has_all(&origins) && origins.len() > 1 {
        return Err(invalid("cors.origins", "must be only *, or a list without *"));
    }
    let headers = names("cors.headers", &cors.headers)?;
    let exposed_headers = names("cors.exposed_headers", &cors.exposed_headers)?;
    // Fetch, section 3.2.5: with credentials, `*` is not a wildcard.
    if cors.credentials && [&origins, &headers, &exposed_headers].iter().any(|l| has_all(l)) {
        return Err(invalid("cors.credentials", "cannot be combined with *"));
    }
    Ok(Cors { origins, headers, exposed_headers, ..cors.clone() })
}

/// Returns an origin as browsers write it: in lower case, without the default port.
fn origin(text: &str) -> Result<String> {
    let refused = || invalid("cors.origins", "must be origins like https://shop.example, or *");
    if text == ALL {
        return Ok(text.to_owned());
    }
    if text.len() > TEXT_BYTES_MAX || text == NULL_ORIGIN {
        return Err(refused());
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(refused)?;
    let uri: Uri = format!("http://{rest}/").parse().map_err(|_| refused())?;
    let authority = uri.authority().filter(|authority| authority.as_str() == rest);
    let authority = authority.filter(|authority| !authority.as_str().contains(['@', '*']));
    let authority = authority.ok_or_else(refused)?;
    let scheme = scheme.to_ascii_lowercase();
    let is_scheme =
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !is_scheme {
        return Err(refused());
    }
    let host = authority.host().to_ascii_lowercase();
    let has_port = authority.as_str().len() > host.len();
    let port = authority.port_u16();
    if host.is_empty() || (has_port && port.is_none()) {
        return Err(refused());
    }
    let is_default = matches!((&*scheme, port), ("http", Some(80)) | ("https", Some(443)));
    Ok(match port.filter(|_| !is_default) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

fn names(field: &str, list: &[String]) -> Result<Vec<String>> {
    if list.len() > LISTED_MAX {
        return Err(invalid(field, "must be at most 50 headers"));
    }
    let name =
        |name: &String| if name == ALL { Ok(name.clone()) } else { header_name(field, name) };
    list.iter().map(name).collect()
}

fn header_name(field: &str, name: &str) -> Result<String> {
    let known = name.parse::<HeaderName>().ok().filter(|_| name.len() <= TEXT_BYTES_MAX);
    known
        .map(|name| name.as_str().to_owned())
        .ok_or_else(|| invalid(field, "must be the name of a header"))
}

fn within(field: &str, value: u32, least: u32, most: u32) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, &format!("must be {least} to {most}")))
}

fn invalid(field: &str, reason: &str) -> Error {
    Error::Invalid(Refusal::field(field, reason))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns the stored form of a policy, or the refused field.
    fn kept(policy: Value) -> std::result::Result<Value, String> {
        let policy: RoutePolicy = serde_json::from_value(policy).unwrap();
        match checked(policy) {
            Ok(policy) => Ok(serde_json::to_value(policy).unwrap()),
            Err(Error::Invalid(refusal)) => {
                Err(refusal.details["field"].as_str().unwrap().to_owned())
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that `json!` can stand in a call")]
    fn refused(policy: Value) -> String {
        kept(policy.clone()).expect_err(&policy.to_string())
    }

    #[test]
    fn every_number_has_its_bounds() {
        let rate = |requests: u32, per_s: u32| {
            kept(json!({"rate_limit": {"requests": requests, "per_s": per_s}}))
        };
        assert!(rate(1, 1).is_ok() && rate(1_000_000, 86_400).is_ok());
        for (requests, per_s, field) in [
            (0, 1, "rate_limit.requests"),
            (1_000_001, 1, "rate_limit.requests"),
            (1, 0, "rate_limit.per_s"),
            (1, 86_401, "rate_limit.per_s"),
        ] {
            assert_eq!(rate(requests, per_s), Err(field.to_owned()));
        }
        assert!(kept(json!({"concurrency_max": 10_000})).is_ok());
        for wrong in [0, 10_001] {
            assert_eq!(refused(json!({"concurrency_max": wrong})), "concurrency_max");
        }
    }

    #[test]
    fn an_origin_is_kept_as_browsers_write_it() {
        let origin_of = |text: &str| kept(json!({"cors": {"origins": [text]}}));
        for (text, expected) in [
            ("*", "*"),
            ("https://shop.example", "https://shop.example"),
            ("HTTPS://Shop.Example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("http://shop.example:443", "http://shop.example:443"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(origin_of(text).unwrap()["cors"]["origins"][0], expected, "{text}");
        }
        for wrong in [
            "",
            "null",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://shop.example/a",
            "https://*.shop.example",
            "https://ada@shop.example",
            "https://shop.example?a",
            "https://shop.example:",
            "https://shop.example:99999",
            "https://a b",
            "://shop.example",
        ] {
            assert_eq!(origin_of(wrong), Err("cors.origins".to_owned()), "{wrong}");
        }
        assert_eq!(refused(json!({"cors": {"origins": []}})), "cors.origins");
        assert_eq!(refused(json!({"cors": {"origins": ["*", "https://a.b"]}})), "cors.origins");
    }

    #[test]
    fn credentials_come_along_to_named_origins_only() {
        let cors = |origins: &str, headers: &str| {
            kept(json!({"cors": {"origins": [origins], "headers": [headers], "credentials": true}}))
        };
        let kept = cors("https://a.b", "X-API-Key").unwrap();
        assert_eq!(kept["cors"]["headers"], json!(["x-api-key"]));
        assert_eq!(cors("*", "a"), Err("cors.credentials".to_owned()));
        assert_eq!(cors("https://a.b", "*"), Err("cors.credentials".to_owned()));
        assert_eq!(cors("https://a.b", "a b"), Err("cors.headers".to_owned()));
    }

    #[test]
    fn who_is_let_in_is_said_in_full() {
        for (auth, field) in [
            (json!({"mode": "key", "secrets": []}), "auth.secrets"),
            (json!({"mode": "key", "secrets": [""]}), "auth.secrets"),
            (json!({"mode": "key", "secrets": ["a", "b", "c", "d", "e", "f"]}), "auth.secrets"),
            (json!({"mode": "key", "secrets": ["a"], "header": "a b"}), "auth.header"),
            (json!({"mode": "basic", "secrets": ["a"], "user": ""}), "auth.user"),
            (json!({"mode": "basic", "secrets": ["a"], "user": "a:b"}), "auth.user"),
            (json!({"mode": "hmac", "secrets": ["a"]}), "auth.preset"),
            (
                json!({"mode": "hmac", "secrets": ["a"], "preset": "slack", "tolerance_s": 0}),
                "auth.tolerance_s",
            ),
        ] {
            assert_eq!(refused(json!({ "auth": auth })), field);
        }
        for right in [
            json!({"mode": "none"}),
            json!({"mode": "key", "secrets": ["a"], "header": "X-Gitlab-Token"}),
            json!({"mode": "hmac", "secrets": ["a", "b"], "preset": "standard_webhooks"}),
        ] {
            assert!(kept(json!({ "auth": right })).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_time_that_is_not_signed_is_refused() {
        let custom = |signed: &str, timestamp_header: Option<&str>| {
            let custom =
                json!({"header": "x-s", "signed": signed, "timestamp_header": timestamp_header});
            kept(json!({"auth": {"mode": "hmac", "secrets": ["a"], "custom": custom}}))
        };
        assert!(custom("{body}", None).is_ok());
        assert!(custom("{timestamp}.{body}", Some("X-Time")).is_ok());
        for (signed, header) in [
            ("{body}", Some("x-time")),
            ("{timestamp}.{body}", None),
            ("{timestamp}", Some("x-time")),
            ("{body}{body}", None),
            ("", None),
        ] {
            assert_eq!(custom(signed, header), Err("auth.custom.signed".to_owned()), "{signed}");
        }
    }
}
