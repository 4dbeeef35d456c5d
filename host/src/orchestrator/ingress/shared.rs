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

/// What speaks for the whole origin, and is not a script's to say: what browsers forget of
/// it, and how far a service worker reaches.
const OF_THE_ORIGIN: [HeaderName; 2] =
    [HeaderName::from_static("clear-site-data"), HeaderName::from_static("service-worker-allowed")];

/// Makes a document of the answer one without an origin. Policies add up, so a script's own
/// can only forbid more (CSP 3, section 8.1).
pub(super) fn confine(answer: &mut HeaderMap) {
    for name in OF_THE_ORIGIN {
        answer.remove(name);
    }
    answer.append(header::CONTENT_SECURITY_POLICY, SANDBOX);
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
        confine(&mut answer);
        let policies: Vec<_> = answer.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies.len(), 2);
        assert!(!SANDBOX.to_str().unwrap().contains("allow-same-origin"));
        assert_eq!(answer.len(), 2);
    }
}
