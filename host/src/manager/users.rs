//! `/users`: user accounts.
//!
//! Invariant: only users themselves set their passwords, never another user.
//! Invariant: an invitation gives access that no scope limits and that does not expire. A key that
//! lacks a scope, or that expires, cannot create one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Body, Path, Query};
use super::lists::{List, PageQuery};
use crate::auth::{self, Caller, Capability, Change, Scope, check_user_name};
use crate::error::Result;
use crate::store::{self, InstanceRole, Resource, UserChange, UserId};

/// A user.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct User {
    /// The user's id.
    pub id: String,
    /// The name to sign in with.
    pub name: String,
    /// The role in the instance: `owner`, `admin` or `member`.
    #[schema(value_type = String)]
    pub role: Extensible<InstanceRole>,
    /// Whether the user can sign in.
    pub enabled: bool,
    /// Whether the user has a password.
    pub has_password: bool,
    /// Whether the user is linked to an identity provider.
    pub has_identity: bool,
    /// When the unused invitation expires, in microseconds since 1970; `null` without one.
    pub invited_until: Option<i64>,
    /// When the user last signed in, in microseconds since 1970.
    pub signed_in_at: Option<i64>,
    /// When the user was created, in microseconds since 1970.
    pub created_at: i64,
    /// When the user was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

impl From<store::User> for User {
    fn from(user: store::User) -> Self {
        Self {
            id: user.id.into(),
            name: user.name,
            role: user.role.into(),
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

/// A user with an invitation. The invitation is shown only once.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct InvitedUser {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// The path, on this server, of the page where the user chooses a password: the link to hand
    /// over.
    #[schema(example = "/invitation#…")]
    pub invitation_path: String,
}

/// The user to create.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
pub struct CreateUser {
    /// 1 to 63 lower-case letters, digits, and `.`, `_`, `-`, `@`, `+`; unique.
    #[schema(example = "ada")]
    pub name: String,
    /// The role in the instance: `owner`, `admin` or `member`.
    #[serde(default = "member")]
    #[schema(value_type = String, example = "member")]
    pub role: InstanceRole,
}

fn member() -> InstanceRole {
    InstanceRole::Member
}

/// The changes to a user. An omitted field is not changed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub struct UpdateUser {
    /// The role in the instance.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<InstanceRole>,
    /// Whether the user can sign in. Disabling a user ends their sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// The page of users to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Number of items to return, 1 to 200. Default: 50.
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
    let page = PageQuery::new(query.limit, query.offset)?;
    let users = control_plane.store.list_users(page.rows()).await?;
    Ok(Json(page.list(users, User::from)))
}

/// Creates a user, and an invitation to choose a password, shown only in this response. A key needs
/// every scope and no expiry date, because an invitation is a way to sign in.
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

/// Changes a user's role or access. Triggers stop if the user loses the right to them. If the
/// change adds rights, a calling key needs every scope and no expiry date.
#[utoipa::path(patch, path = "/users/{user_id}", tag = "users",
    params(("user_id" = String, Path, description = "The user's id")), request_body = UpdateUser,
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The changed user", body = User)))]
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

/// Creates a new invitation for a user to choose a new password. It is shown only in this response.
/// The old password works until then. A calling key needs every scope and no expiry date, because
/// an invitation is a way to sign in.
#[utoipa::path(post, path = "/users/{user_id}/invitation", tag = "users",
    params(("user_id" = String, Path, description = "The user's id")),
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The user with the invitation", body = InvitedUser)))]
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
    responses((status = 204, description = "The user is deleted")))]
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

/// Finds a user and checks that the caller can change them.
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

/// Checks that the caller can give a user this role: only owners can create or change owners.
fn check_may_give(caller: &Caller, role: InstanceRole) -> Result<()> {
    match role {
        InstanceRole::Owner => caller.check(Capability::InstanceManageOwners),
        InstanceRole::Admin | InstanceRole::Member => Ok(()),
    }
}

/// Checks that the caller can give a user a way to sign in, or more rights after signing in.
fn check_may_sign_in(caller: &Caller) -> Result<()> {
    caller.check_gives(&Scope::ALL.into())
}

fn changed(action: &'static str, user: &store::User) -> Change {
    Change::new(action, Resource::User, user.id.as_str(), &user.name)
}

/// Returns a user with the invitation's link. Its token follows `#`, so that no proxy sees it.
fn invited(user: store::User, token: &str) -> InvitedUser {
    InvitedUser { user: user.into(), invitation_path: format!("/invitation#{token}") }
}
