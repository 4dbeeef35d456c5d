//! What scripts answer on the host that the dashboard is on too.
//!
//! A page of a script there would have the dashboard's origin, and with it whatever a
//! visitor who is signed in may do: decision 15.
//!
//! Invariant: no document of a script has the dashboard's origin.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// All that a page may do but being of an origin (HTML, section 7.1.5). `allow-same-origin`
/// would undo it, and navigating the page around it is not for what it embeds.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "sandbox allow-downloads allow-forms allow-modals allow-popups \
     allow-popups-to-escape-sandbox allow-scripts allow-top-navigation-by-user-activation",
);

/// Headers that a browser applies to the whole origin or host, and that are therefore not a
/// script's to send: what it forgets, where it reports, which scheme and server it uses from
/// now on, what it tells about itself, and who is signed in.
const OF_THE_ORIGIN: [HeaderName; 16] = [
    HeaderName::from_static("accept-ch"),
    HeaderName::from_static("alt-svc"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("critical-ch"),
    HeaderName::from_static("expect-ct"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("origin-agent-cluster"),
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("sec-session-registration"),
    HeaderName::from_static("secure-session-registration"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("set-login"),
    HeaderName::from_static("strict-transport-security"),
    HeaderName::from_static("use-as-dictionary"),
];

/// Makes a document of the answer one without an origin, and limits what the answer does to
/// the paths of its app. Policies add up, so a script's own can only forbid more (CSP 3,
/// section 8.1).
pub(super) fn confine(app: &str, answer: &mut HeaderMap) {
    for name in OF_THE_ORIGIN {
        answer.remove(name);
    }
    let cookies = answer.get_all(header::SET_COOKIE).iter();
    let cookies: Vec<_> = cookies.filter_map(|cookie| in_app(app, cookie)).collect();
    answer.remove(header::SET_COOKIE);
    for cookie in cookies {
        answer.append(header::SET_COOKIE, cookie);
    }
    answer.append(header::CONTENT_SECURITY_POLICY, SANDBOX);
}

/// A cookie that is sent back to its app's paths only. Many or large ones for the whole host
/// would make requests to the dashboard too large (431), and a `Domain` would send them to
/// other hosts.
fn in_app(app: &str, cookie: &HeaderValue) -> Option<HeaderValue> {
    let home = format!("/x/{app}");
    let cookie = std::str::from_utf8(cookie.as_bytes()).ok()?;
    let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
    let named = |attribute: &str, name: &str| {
        attribute.split('=').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(name))
    };
    let attributes: Vec<&str> = attributes.split(';').map(str::trim).collect();
    // Of several, browsers take the last (RFC 6265, section 5.2.4).
    let asked = attributes.iter().rev().find(|attribute| named(attribute, "path"));
    let asked = asked.and_then(|path| path.split_once('=')).map(|(_, path)| path.trim());
    let is_in_app =
        |path: &&str| path.strip_prefix(&*home).is_some_and(|rest| rest.starts_with('/'));
    let path = asked.filter(is_in_app).unwrap_or(&home);
    let mut confined = pair.to_owned();
    let kept = attributes.iter().filter(|attribute| !attribute.is_empty());
    for kept in kept.filter(|attribute| !named(attribute, "path") && !named(attribute, "domain")) {
        confined.push_str("; ");
        confined.push_str(kept);
    }
    HeaderValue::try_from(format!("{confined}; Path={path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_own_policy_stays_and_ours_is_beside_it() {
        let mut answer = HeaderMap::new();
        answer
            .insert(header::CONTENT_SECURITY_POLICY, "sandbox allow-same-origin".parse().unwrap());
        answer.insert("service-worker-allowed", "/".parse().unwrap());
        answer.insert("clear-site-data", "\"*\"".parse().unwrap());
        confine("shop", &mut answer);
        let policies: Vec<_> = answer.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies.len(), 2);
        assert!(!SANDBOX.to_str().unwrap().contains("allow-same-origin"));
        assert_eq!(answer.len(), 2);
    }

    #[test]
    fn a_cookie_stays_within_its_app() {
        for (set, confined) in [
            ("a=b", "a=b; Path=/x/shop"),
            ("a=b; Path=/", "a=b; Path=/x/shop"),
            ("a=b; path=/; HttpOnly; Max-Age=5", "a=b; HttpOnly; Max-Age=5; Path=/x/shop"),
            ("a=b; Path=/x/shop/cart", "a=b; Path=/x/shop/cart"),
            ("a=b; Path=/x/shop/; PATH = /x/shops", "a=b; Path=/x/shop"),
            ("a=b; Path=/x/shop/c; Path", "a=b; Path=/x/shop"),
            ("a=b; Domain=example.org; Secure", "a=b; Secure; Path=/x/shop"),
            ("a=path=/; domain", "a=path=/; Path=/x/shop"),
            ("a=b;;", "a=b; Path=/x/shop"),
            ("=path; Path=\"/\"", "=path; Path=/x/shop"),
            ("a=ü", "a=ü; Path=/x/shop"),
        ] {
            let set = HeaderValue::from_str(set).unwrap();
            let value = in_app("shop", &set).unwrap();
            assert_eq!(value.as_bytes(), confined.as_bytes(), "{set:?}");
        }
        let mut answer = HeaderMap::new();
        for cookie in ["a=1; Path=/", "b=2"] {
            answer.append(header::SET_COOKIE, HeaderValue::from_static(cookie));
        }
        confine("shop", &mut answer);
        let set: Vec<_> = answer.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(set, ["a=1; Path=/x/shop", "b=2; Path=/x/shop"]);
    }
}
