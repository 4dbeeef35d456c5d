//! Confines the responses of scripts on the host that the dashboard uses too.
//!
//! A script's page on this host would have the dashboard's origin, and with it the rights of every
//! signed-in visitor; see decision 15.
//!
//! Invariant: no document of a script has the dashboard's origin.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Allows a page everything except having an origin (HTML, section 7.1.5). `allow-same-origin`
/// would give the origin back, and embedded content must not navigate the page around it.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "sandbox allow-downloads allow-forms allow-modals allow-popups \
     allow-popups-to-escape-sandbox allow-scripts allow-top-navigation-by-user-activation",
);

/// Headers that a browser applies to the whole origin or host, which a script must not send. They
/// control stored data, error reports, the scheme and server to use from now on, client hints, and
/// who is signed in.
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

/// Gives documents in the response an opaque origin, and limits cookies to the paths of their app.
/// Content security policies add up, so a script's own policy can only restrict more (CSP 3,
/// section 8.1). `path` is the request's path: a cookie without a path is sent back to its folder.
pub(super) fn confine(app: &str, path: &str, answer: &mut HeaderMap) {
    for name in OF_THE_ORIGIN {
        answer.remove(name);
    }
    let home = format!("/x/{app}");
    let is_below = is_in(&home, path);
    let cookies = answer.get_all(header::SET_COOKIE).iter();
    let cookies: Vec<_> = cookies.filter_map(|cookie| confined(&home, is_below, cookie)).collect();
    answer.remove(header::SET_COOKIE);
    for cookie in cookies {
        answer.append(header::SET_COOKIE, cookie);
    }
    answer.append(header::CONTENT_SECURITY_POLICY, SANDBOX);
}

/// Limits a cookie to its app's paths. Many or large cookies for the whole host would make requests
/// to the dashboard too large (431). A `Domain` would send them to other hosts.
fn confined(home: &str, is_below: bool, cookie: &HeaderValue) -> Option<HeaderValue> {
    let cookie = std::str::from_utf8(cookie.as_bytes()).ok()?;
    let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
    let named = |attribute: &str, name: &str| {
        attribute.split('=').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(name))
    };
    let attributes: Vec<&str> = attributes.split(';').map(str::trim).collect();
    // If there are several, browsers use the last (RFC 6265, section 5.2.4).
    let asked = attributes.iter().rev().find(|attribute| named(attribute, "path"));
    let asked = asked.and_then(|path| path.split_once('=')).map(|(_, path)| path.trim());
    let path = match asked {
        Some(path) if is_in(home, path) => Some(path),
        None if is_below && !attributes.iter().any(|attribute| named(attribute, "path")) => None,
        _ => Some(home),
    };
    let kept = attributes.iter().filter(|attribute| !attribute.is_empty());
    let kept = kept.filter(|attribute| !named(attribute, "path") && !named(attribute, "domain"));
    let mut parts: Vec<String> = vec![pair.to_owned()];
    parts.extend(kept.map(|attribute| (*attribute).to_owned()));
    parts.extend(path.map(|path| format!("Path={path}")));
    HeaderValue::try_from(parts.join("; ")).ok()
}

/// Whether a path is below `home`.
fn is_in(home: &str, path: &str) -> bool {
    path.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'))
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
        confine("shop", "/x/shop/page", &mut answer);
        let policies: Vec<_> = answer.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies.len(), 2);
        assert!(!SANDBOX.to_str().unwrap().contains("allow-same-origin"));
        assert_eq!(answer.len(), 2);
    }

    #[test]
    fn a_cookie_stays_within_its_app() {
        for (set, expected) in [
            ("a=b", "a=b"),
            ("a=b; Path=/", "a=b; Path=/x/shop"),
            ("a=b; path=/; HttpOnly; Max-Age=5", "a=b; HttpOnly; Max-Age=5; Path=/x/shop"),
            ("a=b; Path=/x/shop/cart", "a=b; Path=/x/shop/cart"),
            ("a=b; Path=/x/shop/; PATH = /x/shops", "a=b; Path=/x/shop"),
            ("a=b; Path=/x/shop/c; Path", "a=b; Path=/x/shop"),
            ("a=b; Domain=example.org; Secure", "a=b; Secure"),
            ("a=path=/; domain", "a=path=/"),
            ("a=b;;", "a=b"),
            ("=path; Path=\"/\"", "=path; Path=/x/shop"),
            ("a=b; Path", "a=b; Path=/x/shop"),
            ("a=ü", "a=ü"),
        ] {
            let set = HeaderValue::from_str(set).unwrap();
            let value = confined("/x/shop", true, &set).unwrap();
            assert_eq!(value.as_bytes(), expected.as_bytes(), "{set:?}");
        }
        let mut answer = HeaderMap::new();
        for cookie in ["a=1; Path=/", "b=2"] {
            answer.append(header::SET_COOKIE, HeaderValue::from_static(cookie));
        }
        confine("shop", "/x/shop/page", &mut answer);
        let set: Vec<_> = answer.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(set, ["a=1; Path=/x/shop", "b=2"]);
        // The folder of this request's path contains all apps.
        let mut answer = HeaderMap::new();
        answer.insert(header::SET_COOKIE, HeaderValue::from_static("b=2"));
        confine("shop", "/x/shop", &mut answer);
        assert_eq!(answer.get(header::SET_COOKIE).unwrap(), "b=2; Path=/x/shop");
    }
}
