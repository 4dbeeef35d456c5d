//! The errors of the platform, and their HTTP responses.
//!
//! One [`Error`], whose variants are what the *caller* can do about it, and one mapping to a status
//! and `{"error":{"code","message", …details}}`.
//!
//! Invariant: no internal detail is shown. The cause of an internal error is logged once, when the
//! response is sent (`answers.rs`).
//! Invariant: a published code keeps its meaning; messages can change.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::hostname::NoHost;
use crate::json::Verbatim;
use crate::limits::OverCeiling;

/// The result of handling a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The `Retry-After` of most unavailable resources, in seconds.
pub const RETRY_AFTER_S: u32 = 1;
/// The `Retry-After` while a disk is full, in seconds.
pub const DISK_FULL_RETRY_AFTER_S: u32 = 30;
/// The codes of errors during an outage of the database.
const STORE_OUTAGES: [&str; 2] = ["store_unavailable", "disk_full"];

/// An error of a request, sorted by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: correct the request.
    #[error("{0}")]
    Invalid(Refusal),
    /// 401: authenticate.
    #[error("{0}")]
    Unauthorized(Refusal),
    /// 403: ask a user with access.
    #[error("{0}")]
    Forbidden(Refusal),
    /// 404: request something else.
    #[error("{0}")]
    NotFound(Refusal),
    /// 405: use another method.
    #[error("this path does not support this method")]
    MethodNotAllowed,
    /// 408: send faster.
    #[error("{0}")]
    TooSlow(Refusal),
    /// 409: check the current state.
    #[error("{0}")]
    Conflict(Refusal),
    /// 413: send less data.
    #[error("{0}")]
    TooLarge(Refusal),
    /// 415: use another content coding.
    #[error("{refusal}")]
    Unsupported {
        /// The code and message.
        refusal: Refusal,
        /// The supported codings, in the form of `Accept-Encoding`.
        accepted: &'static str,
    },
    /// 422: the request is well formed, but its content is not acceptable, for example a script
    /// that does not compile or a limit above its ceiling.
    #[error("{0}")]
    Unprocessable(Refusal),
    /// 507: delete something first.
    #[error("{0}")]
    StorageFull(Refusal),
    /// 429: send fewer requests.
    #[error("{refusal}")]
    RateLimited {
        /// The limit that was exceeded.
        refusal: Refusal,
        /// The `Retry-After`, in seconds.
        retry_after_s: u32,
    },
    /// 503: retry later.
    #[error("{refusal}")]
    Unavailable {
        /// The unavailable resource.
        refusal: Refusal,
        /// The `Retry-After`, in seconds.
        retry_after_s: u32,
    },
    /// 500: a bug in PiCloud. Logged, never shown.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An error: a code for programs, a message for people, and details.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct Refusal {
    /// Stable, `snake_case`.
    #[schema(value_type = String, example = "script_not_found")]
    pub code: Cow<'static, str>,
    /// One sentence, without a final full stop.
    pub message: String,
    /// Further members of the error object, besides `code` and `message`.
    #[serde(flatten, deserialize_with = "read_verbatim")]
    pub details: BTreeMap<String, Value>,
}

/// Deserializes details exactly as they were written, see [`Verbatim`].
fn read_verbatim<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
    let details = BTreeMap::<String, Verbatim>::deserialize(from)?;
    Ok(details.into_iter().map(|(name, Verbatim(value))| (name, value)).collect())
}

/// The body of every error response.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: Refusal,
}

impl Refusal {
    /// Returns a refusal without details.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: BTreeMap::new() }
    }

    /// Adds one detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Returns the refusal of an invalid value: code `field_invalid`, detail `field`.
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
    /// Returns the error for a bug in PiCloud.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// Returns the error for a missing credential: code `unauthorized`.
    #[must_use]
    pub fn unauthorized() -> Self {
        let message = "authentication is needed: send an API key or the owner key as \
                       `Authorization: Bearer KEY`";
        Self::Unauthorized(Refusal::new("unauthorized", message))
    }

    /// Returns the error for a missing resource: code `{resource}_not_found`.
    #[must_use]
    pub fn not_found(resource: impl std::fmt::Display) -> Self {
        Self::NotFound(Refusal::new(
            format!("{resource}_not_found"),
            format!("there is no such {resource}"),
        ))
    }

    /// Returns the error for an invalid or repeated header `Host`: code `host_invalid`.
    #[must_use]
    pub fn host_invalid(why: NoHost) -> Self {
        Self::Invalid(Refusal::new("host_invalid", format!("the header Host {why}")))
    }

    /// Returns the error for a body that is not the expected JSON: code `body_invalid`. Details
    /// `line` and `column` give the position of a syntax error.
    #[must_use]
    pub fn body_invalid(error: &serde_json::Error) -> Self {
        let refusal = Refusal::new("body_invalid", format!("the body is not valid: {error}"));
        Self::Invalid(match error.line() {
            0 => refusal,
            line => refusal.with("line", line).with("column", error.column()),
        })
    }

    /// Returns the error for a body that did not arrive in time: code `body_too_slow`.
    #[must_use]
    pub fn body_too_slow() -> Self {
        Self::TooSlow(Refusal::new("body_too_slow", "the request's body did not arrive in time"))
    }

    /// Returns the status of the response.
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

    /// Returns the part of the error that the caller sees.
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

    /// Logs that `what` failed in the background, as a warning. An outage of the database is only
    /// logged at debug level, because the store logs it itself.
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

/// The cause of an internal error, as an extension of the response, whose body omits it. It is
/// logged when the response is sent.
#[derive(Clone, Debug)]
pub struct InternalCause(pub Arc<dyn std::error::Error + Send + Sync>);

/// Returns the response for an internal error that is logged under this id.
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
            "code": "limit_above_ceiling", "message": "fuel is 9, but must be 1 to 5",
            "limit": "fuel", "asked": 9, "least": 1, "most": 5,
        }});
        assert_eq!(body, expected);
    }
}
