//! `/auth/invitation`: how an invited user sets a password.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use super::extract::Body;
use super::sessions::{NO_STORE, Session, signed_in};
use crate::error::Result;

/// The token of an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowInvitation {
    /// The token in the link.
    token: String,
}

/// The user that an invitation is for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invited {
    /// The name to sign in with.
    name: String,
}

/// The password of an invited user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    /// The token in the link.
    token: String,
    /// The new password: 10 to 256 characters.
    password: String,
}

/// Returns the user that an invitation is for.
#[utoipa::path(post, path = "/auth/invitation", tag = "auth", operation_id = "get_invitation",
    request_body = ShowInvitation, security(()),
    responses((status = 200, description = "The invited user", body = Invited)))]
pub(super) async fn get_invitation(
    State(control_plane): State<ControlPlane>,
    body: Body<ShowInvitation>,
) -> Result<impl IntoResponse> {
    let user = control_plane.auth.invited(&body.read()?.token).await?;
    Ok(([NO_STORE], Json(Invited { name: user.name })))
}

/// Sets the password of the invited user and signs the user in. The invitation cannot be used
/// again.
#[utoipa::path(post, path = "/auth/invitation/accept", tag = "auth",
    operation_id = "accept_invitation", request_body = AcceptInvitation, security(()),
    responses((status = 200, description = "The session; its cookie is set", body = Session)))]
pub(super) async fn accept_invitation(
    State(control_plane): State<ControlPlane>,
    request: Parts,
    body: Body<AcceptInvitation>,
) -> Result<impl IntoResponse> {
    let AcceptInvitation { token, password } = body.read()?;
    let begun = control_plane.auth.accept_invitation(&token, &password, &request).await?;
    signed_in(&control_plane, &request, begun, "accept_invitation").await
}
