//! `/auth/oidc`: signing in with an identity provider.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Query};
use super::sessions::{NO_STORE, note};
use crate::auth;
use crate::error::{Error, Refusal, Result};

/// The options of a sign-in with the identity provider.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartOidc {
    /// The page to return to, as a path of this server.
    #[serde(default)]
    return_to: String,
    /// The token of an invitation. The identity is then linked to the invited user.
    invitation: Option<String>,
}

/// The address at which to sign in.
#[derive(Debug, Serialize, ToSchema)]
pub struct OidcDeparture {
    /// The address of the identity provider.
    url: String,
}

/// The parameters that the identity provider sends back.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OidcCallback {
    /// The code that is exchanged for the user's identity.
    code: Option<String>,
    /// The id of the sign-in.
    state: Option<String>,
    /// The error code if the identity provider refused the sign-in.
    error: Option<String>,
}

/// Starts a sign-in with the identity provider. The browser must go to the returned address.
#[utoipa::path(post, path = "/auth/oidc/start", tag = "auth", operation_id = "start_oidc",
    request_body = StartOidc, security(()),
    responses((status = 200, description = "The address to go to", body = OidcDeparture)))]
pub(super) async fn start_oidc(
    State(control_plane): State<ControlPlane>,
    request: Parts,
    body: Body<StartOidc>,
) -> Result<impl IntoResponse> {
    let StartOidc { return_to, invitation } = body.read()?;
    let auth = &control_plane.auth;
    let departure = auth.oidc_start(&return_to, invitation.as_deref(), &request).await?;
    let cookie = [(header::SET_COOKIE, departure.cookie)];
    Ok((cookie, [NO_STORE], Json(OidcDeparture { url: departure.url })))
}

/// The redirect target of the identity provider. Starts a session and redirects to the requested
/// page, or back to the sign-in page with the reason of the failure.
#[utoipa::path(get, path = "/auth/oidc/callback", tag = "auth", operation_id = "finish_oidc",
    params(OidcCallback), security(()),
    responses((status = 303, description = "Redirects to a page of the dashboard")))]
pub(super) async fn finish_oidc(
    State(control_plane): State<ControlPlane>,
    Query(answer): Query<OidcCallback>,
    request: Parts,
) -> Response {
    let back = |error: &Error| {
        let code = error.refusal().code.into_owned();
        ([NO_STORE], Redirect::to(&format!("/?sign_in_error={code}"))).into_response()
    };
    let (Some(code), Some(state), None) = (&answer.code, &answer.state, &answer.error) else {
        tracing::info!(error = answer.error, "the identity provider refused a sign-in");
        let message = "the identity provider refused the sign-in";
        return back(&Error::Unauthorized(Refusal::new("oidc_refused", message)));
    };
    match arrived(&control_plane, code, state, &request).await {
        Ok((return_to, cookie)) => {
            ([(header::SET_COOKIE, cookie)], [NO_STORE], Redirect::to(&return_to)).into_response()
        }
        Err(error) => {
            if let Error::Internal(error) = &error {
                tracing::error!(error = &**error, "a sign-in failed with an internal error");
            }
            back(&error)
        }
    }
}

async fn arrived(
    control_plane: &ControlPlane,
    code: &str,
    state: &str,
    request: &Parts,
) -> Result<(String, String)> {
    let auth::Arrival { begun, return_to } =
        control_plane.auth.oidc_finish(code, state, request).await?;
    let cookie = begun.cookie.clone();
    note(control_plane, request, begun, "sign_in_by_oidc").await?;
    Ok((return_to, cookie))
}
