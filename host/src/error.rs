//! What the platform answers when it does not do what was asked.
//!
//! One [`Error`], whose variants are what the *caller* can do about it, and one
//! mapping to a status and `{"error":{"code","message", …details}}`.
//!
//! Invariant: nothing internal is shown. What went wrong inside is logged, once,
//! when the answer leaves (`answers.rs`).
//! Invariant: a code, once published, keeps its meaning; messages may change.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::hostname::NoHost;
use crate::limits::OverCeiling;

/// The result of whatever answers a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// After how many seconds a caller who was told that something is unavailable
/// may try again.
pub const RETRY_AFTER_S: u32 = 1;
/// And while a disk is full.
pub const DISK_FULL_RETRY_AFTER_S: u32 = 30;
/// The codes of what fails because the database is in no state for it.
const STORE_OUTAGES: [&str; 2] = ["store_unavailable", "disk_full"];

/// Why a request was not carried out, sorted by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: change the request.
    #[error("{0}")]
    Invalid(Refusal),
    /// 401: say who you are.
    #[error("{0}")]
    Unauthorized(Refusal),
    /// 403: ask somebody who may.
    #[error("{0}")]
    Forbidden(Refusal),
    /// 404: ask for something else.
    #[error("{0}")]
    NotFound(Refusal),
    /// 405: use another method.
    #[error("this path does not answer this method")]
    MethodNotAllowed,
    /// 408: send faster.
    #[error("{0}")]
    TooSlow(Refusal),
    /// 409: look at what is there now.
    #[error("{0}")]
    Conflict(Refusal),
    /// 413: send less.
    #[error("{0}")]
    TooLarge(Refusal),
    /// 415: send the body in another coding.
    #[error("{refusal}")]
    Unsupported {
        /// What is wrong with this one.
        refusal: Refusal,
        /// The codings that are accepted, as `Accept-Encoding` names them.
        accepted: &'static str,
    },
    /// 422: the request was understood, but what it holds is not acceptable: a
    /// source that does not parse, a limit that cannot be granted.
    #[error("{0}")]
    Unprocessable(Refusal),
    /// 507: delete something first.
    #[error("{0}")]
    StorageFull(Refusal),
    /// 429: slow down.
    #[error("{refusal}")]
    RateLimited {
        /// What there was too much of.
        refusal: Refusal,
        /// When to come back, in seconds.
        retry_after_s: u32,
    },
    /// 503: come back.
    #[error("{refusal}")]
    Unavailable {
        /// What is missing.
        refusal: Refusal,
        /// When to come back, in seconds.
        retry_after_s: u32,
    },
    /// 500: nothing; it is a mistake in PiCloud. Logged, never shown.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What an error says: a code for programs, a message for people, and details.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Refusal {
    /// Stable, `snake_case`.
    #[schema(value_type = String, example = "script_not_found")]
    pub code: Cow<'static, str>,
    /// One sentence, without a full stop.
    pub message: String,
    /// Members of the answer beside `code` and `message`.
    #[serde(flatten)]
    pub details: BTreeMap<String, Value>,
}

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Refusal,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: BTreeMap::new() }
    }

    /// Adds one detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// A value that is not acceptable: code `field_invalid`, detail `field`.
    #[must_use]
    pub fn field(field: &str, reason: &str) -> Self {
        Self::new("field_invalid", format!("{field} {reason}")).with("field", field)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error {
    /// A mistake in PiCloud.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// Nobody has said who is calling: code `unauthorized`.
    #[must_use]
    pub fn unauthorized() -> Self {
        let message = "the owner key is needed: send it as `Authorization: Bearer KEY`";
        Self::Unauthorized(Refusal::new("unauthorized", message))
    }

    /// There is no such thing: code `{resource}_not_found`.
    #[must_use]
    pub fn not_found(resource: impl std::fmt::Display) -> Self {
        Self::NotFound(Refusal::new(
            format!("{resource}_not_found"),
            format!("there is no such {resource}"),
        ))
    }

    /// The header `Host` names no host, or several: code `host_invalid`.
    #[must_use]
    pub fn host_invalid(why: NoHost) -> Self {
        Self::Invalid(Refusal::new("host_invalid", format!("the header Host {why}")))
    }

    /// A body is not the JSON that is wanted: code `body_invalid`, with `line` and `column`
    /// where the text itself is wrong.
    #[must_use]
    pub fn body_invalid(error: &serde_json::Error) -> Self {
        let refusal = Refusal::new("body_invalid", format!("the body is not valid: {error}"));
        Self::Invalid(match error.line() {
            0 => refusal,
            line => refusal.with("line", line).with("column", error.column()),
        })
    }

    /// A body did not come in time: code `body_too_slow`.
    #[must_use]
    pub fn body_too_slow() -> Self {
        Self::TooSlow(Refusal::new("body_too_slow", "the request's body did not arrive in time"))
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::StorageFull(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the caller is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Invalid(refusal)
            | Self::Unauthorized(refusal)
            | Self::Forbidden(refusal)
            | Self::NotFound(refusal)
            | Self::TooSlow(refusal)
            | Self::Conflict(refusal)
            | Self::TooLarge(refusal)
            | Self::Unsupported { refusal, .. }
            | Self::Unprocessable(refusal)
            | Self::StorageFull(refusal)
            | Self::RateLimited { refusal, .. }
            | Self::Unavailable { refusal, .. } => refusal.clone(),
            Self::MethodNotAllowed => Refusal::new("method_not_allowed", self.to_string()),
            Self::Internal(_) => Refusal::new("internal", self.to_string()),
        }
    }

    /// Logs that `what` failed in the background; as a warning, except in an outage of the database,
    /// which the store logs itself.
    pub fn tell(&self, what: &str) {
        match self {
            Self::Unavailable { refusal, .. } if STORE_OUTAGES.contains(&&*refusal.code) => {
                tracing::debug!(error = %self, "{what}");
            }
            _ => tracing::warn!(error = %self, "{what}"),
        }
    }

    fn header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::Unauthorized(_) => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"PiCloud\""),
            )),
            Self::Unsupported { accepted, .. } => {
                Some((header::ACCEPT_ENCODING, HeaderValue::from_static(accepted)))
            }
            Self::RateLimited { retry_after_s, .. } | Self::Unavailable { retry_after_s, .. } => {
                Some((header::RETRY_AFTER, HeaderValue::from(*retry_after_s)))
            }
            _ => None,
        }
    }
}

/// The cause of an internal error: an extension of the answer, which does not say it. It is
/// logged where the answer leaves.
#[derive(Clone, Debug)]
pub struct InternalCause(pub Arc<dyn std::error::Error + Send + Sync>);

/// The answer for an internal error that is in the log by this id.
pub fn internal_answer(id: &str) -> Response {
    let message = format!("internal error; the server's log has its cause under the id {id}");
    let error = Refusal::new("internal", message).with("id", id);
    (StatusCode::INTERNAL_SERVER_ERROR, Json(ErrorBody { error })).into_response()
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = Json(ErrorBody { error: self.refusal() });
        let mut response = (self.status(), body).into_response();
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        if let Self::Internal(error) = self {
            response.extensions_mut().insert(InternalCause(Arc::from(error)));
        }
        response
    }
}

impl From<OverCeiling> for Error {
    fn from(over: OverCeiling) -> Self {
        let code =
            if over.asked > over.most { "limit_above_ceiling" } else { "limit_below_minimum" };
        Self::Unprocessable(
            Refusal::new(code, over.to_string())
                .with("limit", over.limit)
                .with("asked", over.asked)
                .with("least", over.least)
                .with("most", over.most),
        )
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::json;

    use super::*;

    async fn answer(error: Error) -> (u16, Option<String>, Value) {
        let response = error.into_response();
        let status = response.status().as_u16();
        let retry = response.headers().get(header::RETRY_AFTER);
        let retry = retry.map(|value| value.to_str().unwrap().to_owned());
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, retry, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn what_went_wrong_inside_is_not_shown() {
        let (status, _, body) = answer(Error::internal("the password is 1234")).await;
        assert_eq!(status, 500);
        assert_eq!(body, json!({"error": {"code": "internal", "message": "internal error"}}));
    }

    #[tokio::test]
    async fn a_limit_is_refused_by_its_name() {
        let over = OverCeiling { limit: "fuel", asked: 9, least: 1, most: 5 };
        let (status, _, body) = answer(over.into()).await;
        assert_eq!(status, 422);
        let expected = json!({"error": {
            "code": "limit_above_ceiling", "message": "fuel: 9 asked, 1 to 5 allowed",
            "limit": "fuel", "asked": 9, "least": 1, "most": 5,
        }});
        assert_eq!(body, expected);
    }
}
