//! Compression of the control plane's responses: the API and the dashboard's page. The dashboard's
//! other files are compressed at build time (see [`super::dashboard`]).
//!
//! Invariant: responses of scripts, below `/x/` and on domains, are never compressed here. The
//! layer is on the control plane's router, which those requests do not pass.
//!
//! # BREACH
//! The size of a compressed response shows which parts of it repeat. An attacker can recover a
//! secret from it if all of these hold: the response holds a secret that stays the same; it also
//! holds text chosen by the attacker; the attacker makes the victim's browser request it; and the
//! attacker sees its size. Two of these are ruled out:
//! - The only lasting secret in a response is the session's CSRF token, below `/api/v1/auth/`.
//!   Nothing there is compressed. Other credentials are shown once, to the caller that creates
//!   them.
//! - A page of another origin gets no response with the session's cookie: it is `SameSite=Strict`,
//!   and [`crate::auth::Auth`] refuses what browsers call `same-site` or `cross-site`.

use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// Smaller responses fit into one packet anyway.
const BYTES_MIN: u16 = 1024;
/// The path prefix of responses with the session's CSRF token.
const WITH_SECRETS: &str = "/api/v1/auth/";

/// Compresses with `br` or `gzip`, as the caller prefers.
pub(super) fn layer() -> CompressionLayer<impl Predicate> {
    let worth = SizeAbove::new(BYTES_MIN)
        .and(NotForContentType::SSE)
        // A file of an app: often compressed already, and resumed by its length.
        .and(NotForContentType::const_new("application/octet-stream"));
    CompressionLayer::new().compress_when(worth)
}

/// Middleware before [`layer`] that exempts responses with secrets from compression.
pub(super) async fn protect(mut request: Request, next: Next) -> Response {
    if request.uri().path().starts_with(WITH_SECRETS) {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use tower::ServiceExt;

    use super::*;

    async fn encoding(path: &str) -> Option<String> {
        let router = Router::new()
            .fallback(async || "x".repeat(usize::from(BYTES_MIN)))
            .layer(layer())
            .layer(from_fn(protect));
        let request = Request::get(path).header("accept-encoding", "gzip, br");
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let encoding = answer.headers().get(header::CONTENT_ENCODING);
        encoding.map(|encoding| encoding.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn what_may_have_a_secret_is_left_alone() {
        for path in ["/api/v1/apps", "/apps/shop", "/api/v1/authors"] {
            assert_eq!(encoding(path).await.as_deref(), Some("br"), "{path}");
        }
        for path in ["/api/v1/auth/me", "/api/v1/auth/login"] {
            assert_eq!(encoding(path).await, None, "{path}");
        }
    }
}
