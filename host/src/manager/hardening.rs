//! What browsers are told with every answer of the platform's own, so that they do not
//! lend themselves to a page of somebody else.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::auth::Auth;

/// Said with every answer: it is what its type says, no page of another origin may have it
/// or a hand on its window, and it needs none of these.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// To whoever has come by TLS: never without it from now on (RFC 6797).
const STRICT_TRANSPORT: &str = "max-age=31536000";

/// Middleware that adds them, where nothing else is said.
pub(super) async fn harden(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let is_https = auth.is_https(request.extensions(), request.headers());
    let mut answer = next.run(request).await;
    let mut say = |name: HeaderName, value: &'static str| {
        answer.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    };
    for (name, value) in ALWAYS {
        say(name, value);
    }
    if is_https {
        say(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    if is_api {
        say(header::CACHE_CONTROL, "no-store");
    }
    answer
}
