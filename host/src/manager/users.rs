//! `/users`: the people who sign in.
//!
//! Invariant: a password is set by whoever it is for, never by somebody else.
//! Invariant: an invitation is a way to sign in, without scopes and without an end: a key that
//! has less makes none.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use crate::auth::{self, Caller, Capability, Change, Scope, check_user_name};
use crate::error::Result;
use crate::store::{self, InstanceRole, Resource, UserChange, UserId};

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    /// Their id.
    id: String,
    /// The name that they sign in with.
    name: String,
    /// What they may do in the instance: `owner`, `admin` or `member`.
    #[schema(value_type = String)]
    role: InstanceRole,
    /// Whether they may sign in.
    enabled: bool,
    /// Whether they have a password.
    has_password: bool,
    /// Whether an identity provider knows them.
    has_identity: bool,
    /// Until when an invitation is good that is not used yet, in microseconds since 1970.
    invited_until: Option<i64>,
    /// When they have signed in last, in microseconds since 1970.
    signed_in_at: Option<i64>,
    /// When they were made, in microseconds since 1970.
    created_at: i64,
    /// When they were last changed, in microseconds since 1970.
    updated_at: i64,
}

impl From<store::User> for User {
    fn from(user: store::User) -> Self {
        Self {
            id: user.id.into(),
            name: user.name,
            role: user.role,
            enabled: user.disabled_at.is_none(),
            has_password: user.password_hash.is_some(),
            has_identity: user.oidc_subject.is_some(),
            invited_until: user.invitation_expires_at,
            signed_in_at: user.signed_in_at,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// A user with an invitation that is shown once.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvitedUser {
    /// The user.
    #[serde(flatten)]
    user: User,
    /// The path, on this server, of the page where they choose a password: the link to
    /// hand over.
    #[schema(example = "/invitation#…")]
    invitation_path: String,
}

/// A user to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
pub struct CreateUser {
    /// 1 to 63 lower-case letters, digits, and `.`, `_`, `-`, `@`, `+`; unique.
    #[schema(example = "ada")]
    name: String,
    /// What they may do in the instance: `owner`, `admin` or `member`.
    #[serde(default = "member")]
    #[schema(value_type = String, example = "member")]
    role: InstanceRole,
}

fn member() -> InstanceRole {
    InstanceRole::Member
}

/// What to change about a user; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub struct UpdateUser {
    /// What they may do in the instance.
    #[schema(value_type = Option<String>)]
    role: Option<InstanceRole>,
    /// Whether they may sign in; their sessions end when they may not.
    enabled: Option<bool>,
}

/// Which users.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists users by name.
#[utoipa::path(get, path = "/users", tag = "users", params(UsersQuery),
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "A page of users", body = List<User>)))]
pub(super) async fn list_users(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Query(query): Query<UsersQuery>,
) -> Result<Json<List<User>>> {
    caller.check(Capability::InstanceManageUsers)?;
    let page = Page::new(query.limit, query.offset)?;
    let users = control_plane.store.list_users(page.rows()).await?;
    Ok(Json(page.list(users, User::from)))
}

/// Makes a user, and an invitation to choose a password with, which is shown only now. A key
/// needs every scope for this, and no end: an invitation is a way to sign in.
#[utoipa::path(post, path = "/users", tag = "users", request_body = CreateUser,
    security(("key" = ["instance:admin"])),
    responses((status = 201, description = "The new user", body = InvitedUser)))]
pub(super) async fn create_user(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    body: Body<CreateUser>,
) -> Result<(StatusCode, Json<InvitedUser>)> {
    caller.check(Capability::InstanceManageUsers)?;
    let body = body.read()?;
    check_may_give(&caller, body.role)?;
    check_may_sign_in(&caller)?;
    check_user_name(&body.name)?;
    let auth::Invitation { token, kept } = control_plane.auth.invite(&caller);
    let now = control_plane.clock.now_us();
    let user = store::User {
        id: control_plane.clock.new_id().into(),
        name: body.name,
        role: body.role,
        password_hash: None,
        invitation_sha256: Some(kept.sha256),
        invitation_expires_at: Some(kept.expires_at),
        invited_by: Some(kept.by),
        invited_with: kept.with,
        oidc_issuer: None,
        oidc_subject: None,
        disabled_at: None,
        signed_in_at: None,
        created_at: now,
        updated_at: now,
    };
    let change = changed("create_user", &user).to(&json!({ "role": user.role }));
    control_plane.change(&caller, change).insert_user(user.clone()).await?;
    Ok((StatusCode::CREATED, Json(invited(user, &token))))
}

/// Shows a user.
#[utoipa::path(get, path = "/users/{user_id}", tag = "users",
    params(("user_id" = String, Path, description = "The user's id")),
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The user", body = User)))]
pub(super) async fn get_user(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<UserId>,
) -> Result<Json<User>> {
    caller.check(Capability::InstanceManageUsers)?;
    Ok(Json(control_plane.store.find_user(&id).await?.into()))
}

/// Changes what a user may do. Their triggers stop when they may not have them any more. A
/// key that gives more rights needs every scope, and no end.
#[utoipa::path(patch, path = "/users/{user_id}", tag = "users",
    params(("user_id" = String, Path, description = "The user's id")), request_body = UpdateUser,
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The user as they are now", body = User)))]
pub(super) async fn update_user(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<UserId>,
    body: Body<UpdateUser>,
) -> Result<Json<User>> {
    let user = user_of(&control_plane, &caller, &id).await?;
    let body = body.read()?;
    check_may_give(&caller, body.role.unwrap_or(user.role))?;
    let rises = body.role.is_some_and(|role| role < user.role);
    if rises || (body.enabled == Some(true) && user.disabled_at.is_some()) {
        check_may_sign_in(&caller)?;
    }
    let audited = changed("update_user", &user)
        .from(&json!({ "role": user.role, "enabled": user.disabled_at.is_none() }))
        .to(&json!({ "role": body.role, "enabled": body.enabled }));
    let change = UserChange {
        role: body.role,
        enabled: body.enabled,
        updated_at: control_plane.clock.now_us(),
        ..UserChange::default()
    };
    let user = control_plane.change(&caller, audited).update_user(&id, change).await?;
    if user.disabled_at.is_some() {
        control_plane.auth.sign_out_everywhere(&auth::Principal::User(id)).await?;
    } else {
        control_plane.resume_triggers_of(&auth::Principal::User(id)).await?;
    }
    Ok(Json(user.into()))
}

/// Makes another invitation for a user, which is shown only now: with it they choose a
/// new password. Until then the old one is good. A key needs every scope for this, and no
/// end: an invitation is a way to sign in.
#[utoipa::path(post, path = "/users/{user_id}/invitation", tag = "users",
    params(("user_id" = String, Path, description = "The user's id")),
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The user, invited", body = InvitedUser)))]
pub(super) async fn invite_user(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<UserId>,
) -> Result<Json<InvitedUser>> {
    let user = user_of(&control_plane, &caller, &id).await?;
    check_may_sign_in(&caller)?;
    let invitation = control_plane.auth.invite(&caller);
    let change = UserChange {
        invitation: Some(invitation.kept),
        updated_at: control_plane.clock.now_us(),
        ..UserChange::default()
    };
    let store = control_plane.change(&caller, changed("invite_user", &user));
    let user = store.update_user(&id, change).await?;
    Ok(Json(invited(user, &invitation.token)))
}

/// Deletes a user with their memberships, keys and sessions. Their triggers stop.
#[utoipa::path(delete, path = "/users/{user_id}", tag = "users",
    params(("user_id" = String, Path, description = "The user's id")),
    security(("key" = ["instance:admin"])),
    responses((status = 204, description = "They are gone")))]
pub(super) async fn delete_user(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<UserId>,
) -> Result<StatusCode> {
    let user = user_of(&control_plane, &caller, &id).await?;
    let change = changed("delete_user", &user).from(&json!({ "role": user.role }));
    let principal = auth::Principal::User(id.clone()).to_string();
    control_plane.change(&caller, change).delete_user(&id, &principal).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The user of that id, if the caller may change them.
async fn user_of(
    control_plane: &ControlPlane,
    caller: &Caller,
    id: &UserId,
) -> Result<store::User> {
    caller.check(Capability::InstanceManageUsers)?;
    let user = control_plane.store.find_user(id).await?;
    check_may_give(caller, user.role)?;
    Ok(user)
}

/// Only owners make owners, and change them.
fn check_may_give(caller: &Caller, role: InstanceRole) -> Result<()> {
    match role {
        InstanceRole::Owner => caller.check(Capability::InstanceManageOwners),
        InstanceRole::Admin | InstanceRole::Member => Ok(()),
    }
}

/// Whether the caller may make somebody able to sign in, or able to do more when they do.
fn check_may_sign_in(caller: &Caller) -> Result<()> {
    caller.check_gives(&Scope::ALL.into())
}

fn changed(action: &'static str, user: &store::User) -> Change {
    Change::new(action, Resource::User, user.id.as_str(), &user.name)
}

/// After `#`, so that no server on the way sees the token.
fn invited(user: store::User, token: &str) -> InvitedUser {
    InvitedUser { user: user.into(), invitation_path: format!("/invitation#{token}") }
}
