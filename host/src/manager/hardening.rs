//! Security headers of the platform's own responses. They tell browsers to isolate these responses
//! from pages of other origins.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::auth::Auth;

/// Headers of every response of the platform, but not of scripts: no content sniffing, no use by
/// other origins or their windows, and no access to these device features.
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

/// For a caller that came by TLS: never connect without TLS from now on (RFC 6797).
const STRICT_TRANSPORT: &str = "max-age=31536000";

/// Middleware that adds these headers, unless the response already has them.
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
