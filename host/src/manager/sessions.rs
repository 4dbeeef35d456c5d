//! `/auth`: signing in with a browser and out again.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use super::extract::Body;
use crate::auth::{self, Caller};
use crate::error::Result;

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    /// Who it is.
    principal: Principal,
    /// What a request with the cookie that changes something must bring as
    /// `X-CSRF-Token`; `null` for a caller with a key, who needs none.
    csrf_token: Option<String>,
    /// When the session will be over unless it is used before, in microseconds since
    /// 1970; `null` for a caller with a key.
    expires_at: Option<i64>,
}

/// Somebody or something that may do something.
#[derive(Debug, Serialize, ToSchema)]
pub struct Principal {
    /// `owner`.
    kind: &'static str,
    /// Its name.
    name: &'static str,
}

impl Session {
    fn of(principal: auth::Principal, session: Option<auth::Session>) -> Self {
        let (csrf_token, expires_at) = match session {
            Some(session) => (Some(session.csrf_token), Some(session.expires_at)),
            None => (None, None),
        };
        // There is one principal of its kind, and its name is the kind's.
        let principal = Principal { kind: principal.as_str(), name: principal.as_str() };
        Self { principal, csrf_token, expires_at }
    }
}

/// What to sign in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The owner key.
    #[schema(example = "pco_…")]
    key: String,
}

/// Nothing of a session stays in a cache.
const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// Exchanges the owner key for a session. The cookie is the browser's; a request with
/// it that changes something also needs `X-CSRF-Token`.
#[utoipa::path(post, path = "/auth/login", tag = "auth", operation_id = "sign_in",
    request_body = SignIn, security(()),
    responses((status = 200, description = "The session; its cookie is set", body = Session)))]
pub(super) async fn sign_in(
    State(control_plane): State<ControlPlane>,
    request: Parts,
    Body(body): Body<SignIn>,
) -> Result<impl IntoResponse> {
    let begun = control_plane.auth.sign_in(&body.key, &request).await?;
    let session = Session::of(auth::Principal::Owner, Some(begun.session));
    Ok(([(header::SET_COOKIE, begun.cookie)], [NO_STORE], Json(session)))
}

/// Tells who is signed in.
#[utoipa::path(get, path = "/auth/me", tag = "auth", operation_id = "get_session",
    responses((status = 200, description = "Who it is", body = Session)))]
pub(super) async fn get_session(caller: Caller) -> impl IntoResponse {
    ([NO_STORE], Json(Session::of(caller.principal, caller.session)))
}

/// Ends the session, if the caller has one.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", operation_id = "sign_out",
    responses((status = 204, description = "It is over")))]
pub(super) async fn sign_out(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    request: Parts,
) -> Result<impl IntoResponse> {
    let auth = &control_plane.auth;
    if let Some(session) = &caller.session {
        auth.sign_out(session).await?;
    }
    let is_https = auth.is_https(&request.extensions, &request.headers);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, auth::removed_cookie(is_https))], [NO_STORE]))
}
