//! `/auth`: signing in and out with a browser, and changing one's own password.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use super::extract::Body;
use crate::auth::{self, Begun, Caller, Capability, Change, Scope};
use crate::error::Result;
use crate::store::{InstanceRole, Resource};

/// The caller, signed in or authenticated by a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    /// The principal.
    principal: Principal,
    /// The capabilities outside of apps: `platform_use`, `instance_manage_users`, ….
    capabilities: Vec<&'static str>,
    /// The API key of the request; `null` without one.
    key: Option<KeyInUse>,
    /// The value of `X-CSRF-Token` for requests with the cookie that change something; `null` for a
    /// caller with a key, which needs none.
    csrf_token: Option<String>,
    /// When the session expires unless it is used before, in microseconds since 1970; `null` for a
    /// caller with a key.
    expires_at: Option<i64>,
}

/// A principal.
#[derive(Debug, Serialize, ToSchema)]
pub struct Principal {
    /// `user`, or `owner` for the holder of the owner key.
    kind: &'static str,
    /// The user's id.
    user_id: Option<String>,
    /// The user's name.
    name: String,
    /// The role in the instance: `owner`, `admin` or `member`.
    #[schema(value_type = String)]
    role: InstanceRole,
}

/// The API key of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyInUse {
    /// The first characters of the key; they are not secret.
    prefix: String,
    /// The scopes of the key.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// The id of the only app the key can be used in; `null` for all apps of its owner.
    app_id: Option<String>,
    /// When it expires, in microseconds since 1970; `null` if it never does.
    expires_at: Option<i64>,
}

impl Session {
    fn of(caller: &Caller) -> Self {
        let session = caller.session();
        Self {
            principal: Principal {
                kind: if caller.user_id().is_some() { "user" } else { "owner" },
                user_id: caller.user_id().map(ToString::to_string),
                name: caller.name.clone(),
                role: caller.role,
            },
            capabilities: caller.capabilities().into_iter().map(Capability::as_str).collect(),
            key: caller.key().map(|key| KeyInUse {
                prefix: key.prefix.clone(),
                scopes: key.scopes.iter().copied().collect(),
                app_id: key.app_id.as_ref().map(ToString::to_string),
                expires_at: key.expires_at,
            }),
            csrf_token: session.map(|session| session.csrf_token.clone()),
            expires_at: session.map(|session| session.expires_at),
        }
    }
}

/// The credentials of a sign-in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The user's name.
    #[schema(example = "admin")]
    name: String,
    /// The user's password.
    password: String,
}

/// The current password and the new one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The current password; ignored for a user without one.
    #[serde(default)]
    current: String,
    /// The new password, 10 to 256 characters.
    password: String,
}

/// The number of ended sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedSessions {
    /// The number of sessions that were ended.
    ended: u64,
}

/// Responses about sessions are never cached.
pub(super) const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// Exchanges a name and a password for a session. The browser keeps its cookie. A request with the
/// cookie that changes something also needs `X-CSRF-Token`.
#[utoipa::path(post, path = "/auth/login", tag = "auth", operation_id = "sign_in",
    request_body = SignIn, security(()),
    responses((status = 200, description = "The session; its cookie is set", body = Session)))]
pub(super) async fn sign_in(
    State(control_plane): State<ControlPlane>,
    request: Parts,
    body: Body<SignIn>,
) -> Result<impl IntoResponse> {
    let SignIn { name, password } = body.read()?;
    let begun = control_plane.auth.sign_in(&name, &password, &request).await?;
    signed_in(&control_plane, &request, begun, "sign_in").await
}

/// Writes the audit entry of a new session, and returns the session.
pub(super) async fn signed_in(
    control_plane: &ControlPlane,
    request: &Parts,
    begun: Begun,
    action: &'static str,
) -> Result<impl IntoResponse + use<>> {
    let cookie = begun.cookie.clone();
    let caller = note(control_plane, request, begun, action).await?;
    Ok(([(header::SET_COOKIE, cookie)], [NO_STORE], Json(Session::of(&caller))))
}

/// Writes the audit entry of a new session, and returns its caller.
pub(super) async fn note(
    control_plane: &ControlPlane,
    request: &Parts,
    begun: Begun,
    action: &'static str,
) -> Result<Caller> {
    let mut caller = control_plane.auth.signed_in_as(begun.principal, begun.session).await?;
    caller.address = control_plane.auth.caller_address(&request.extensions, &request.headers);
    let id = caller.user_id().map(ToString::to_string).unwrap_or_default();
    let change = Change::new(action, Resource::User, &id, &caller.name);
    let entry = caller.entry(&control_plane.clock, change);
    control_plane.store.append_audit(entry).await?;
    Ok(caller)
}

/// The ways to sign in.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignInOptions {
    /// The label of the identity provider's button; `null` without a provider.
    oidc: Option<String>,
}

/// Returns the ways to sign in.
#[utoipa::path(get, path = "/auth/options", tag = "auth", operation_id = "get_sign_in_options",
    security(()),
    responses((status = 200, description = "The ways to sign in", body = SignInOptions)))]
pub(super) async fn get_sign_in_options(
    State(control_plane): State<ControlPlane>,
) -> impl IntoResponse {
    let oidc = control_plane.auth.oidc_name().map(str::to_owned);
    ([NO_STORE], Json(SignInOptions { oidc }))
}

/// Returns the caller and its capabilities outside of apps. A signed-in browser also gets a device
/// cookie. With it, other people's failed sign-ins do not slow this browser down.
#[utoipa::path(get, path = "/auth/me", tag = "auth", operation_id = "get_session",
    security(("key" = [])),
    responses((status = 200, description = "The caller", body = Session)))]
pub(super) async fn get_session(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    request: Parts,
) -> Result<impl IntoResponse> {
    caller.check(Capability::OwnAccount)?;
    let device = control_plane.auth.remember_device(&caller, &request);
    let device = device.map(|cookie| [(header::SET_COOKIE, cookie)]);
    Ok((device, [NO_STORE], Json(Session::of(&caller))))
}

/// Ends the session, if the caller has one.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", operation_id = "sign_out",
    security(("key" = [])),
    responses((status = 204, description = "The session is ended")))]
pub(super) async fn sign_out(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    request: Parts,
) -> Result<impl IntoResponse> {
    caller.check(Capability::OwnAccount)?;
    let auth = &control_plane.auth;
    auth.sign_out(&caller).await?;
    let is_https = auth.is_https(&request.extensions, &request.headers);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, auth::removed_cookie(is_https))], [NO_STORE]))
}

/// Ends all sessions of the caller, in every browser.
#[utoipa::path(delete, path = "/auth/sessions", tag = "auth", operation_id = "sign_out_everywhere",
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The number of ended sessions", body = EndedSessions)))]
pub(super) async fn sign_out_everywhere(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    request: Parts,
) -> Result<impl IntoResponse> {
    caller.check(Capability::OwnAccountManage)?;
    let auth = &control_plane.auth;
    let id = caller.user_id().map(ToString::to_string).unwrap_or_default();
    let change = Change::new("sign_out_everywhere", Resource::User, &id, &caller.name);
    let store = control_plane.change(&caller, change);
    let ended = store.delete_sessions_of(&caller.principal.to_string()).await?;
    let is_https = auth.is_https(&request.extensions, &request.headers);
    let removed = [(header::SET_COOKIE, auth::removed_cookie(is_https))];
    Ok((removed, [NO_STORE], Json(EndedSessions { ended })))
}

/// Changes the caller's password. Ends all other sessions, and replaces this one by a new session.
#[utoipa::path(put, path = "/auth/password", tag = "auth", operation_id = "change_password",
    request_body = ChangePassword, security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The new session", body = Session)))]
pub(super) async fn change_password(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    request: Parts,
    body: Body<ChangePassword>,
) -> Result<impl IntoResponse> {
    caller.check(Capability::OwnAccountManage)?;
    let ChangePassword { current, password } = body.read()?;
    let auth = &control_plane.auth;
    let begun = auth.change_password(&caller, &current, &password, &request).await?;
    signed_in(&control_plane, &request, begun, "change_password").await
}
