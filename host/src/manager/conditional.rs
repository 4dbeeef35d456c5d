//! Conditional requests: a `GET` that returns JSON has an `ETag`, and a caller that sends it in
//! `If-None-Match` gets 304 without a body (RFC 9110, section 13.1.2). The dashboard polls every
//! few seconds; an unchanged page then costs only headers.
//!
//! Invariant: the response is computed each time, with every check of the caller. Only its body is
//! omitted.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::dashboard::is_known;

/// Larger responses get no ETag, in bytes: the largest page of a list is about this large.
const BYTES_MAX: u64 = 1 << 20;

/// Middleware that adds the ETag, and answers 304 if the caller has that version.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let answer = next.run(request).await;
    if !is_tagged(&answer) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    // The whole body is in memory already, see `is_tagged`.
    let Ok(body) = to_bytes(body, BYTES_MAX as usize).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let etag = etag(&body);
    let is_same = known.is_some_and(|known| names(known, &etag));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        parts.headers.insert(header::ETAG, etag);
    }
    if is_same {
        parts.status = StatusCode::NOT_MODIFIED;
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            parts.headers.remove(name);
        }
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

/// Whether the response is JSON of a known and small size.
fn is_tagged(answer: &Response) -> bool {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    answer.status() == StatusCode::OK
        && content_type.is_some_and(|is| is == "application/json")
        && answer.body().size_hint().exact().is_some_and(|bytes| bytes <= BYTES_MAX)
}

/// Returns a weak ETag, because the bytes differ with the compression.
fn etag(body: &[u8]) -> String {
    format!("W/\"{}\"", hex::encode(&Sha256::digest(body)[..16]))
}

fn names(known: HeaderValue, etag: &str) -> bool {
    is_known(&HeaderMap::from_iter([(header::IF_NONE_MATCH, known)]), etag)
}
