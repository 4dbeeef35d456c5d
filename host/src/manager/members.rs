//! `/apps/{app}/members`: the users of an app and their roles.

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
use crate::auth::{Caller, Capability, Change, Principal, Scope};
use crate::error::{Error, Result};
use crate::store::{self, AppRole, Resource, UserId};

/// A member of an app.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Member {
    /// The user's id.
    pub user_id: String,
    /// The user's name.
    pub name: String,
    /// The role: `app_admin`, `editor` or `viewer`.
    #[schema(value_type = String)]
    pub role: Extensible<AppRole>,
    /// When the user became a member, in microseconds since 1970.
    pub created_at: i64,
    /// When the role was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

impl From<store::Member> for Member {
    fn from(member: store::Member) -> Self {
        Self {
            user_id: member.user_id.into(),
            name: member.user_name,
            role: member.role.into(),
            created_at: member.created_at,
            updated_at: member.updated_at,
        }
    }
}

/// The role to give to a member.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetMember {
    /// `app_admin`, `editor` or `viewer`.
    #[schema(value_type = String, example = "editor")]
    pub role: AppRole,
}

/// The page of members to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MembersQuery {
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists an app's members by name. Owners and admins of the instance have full access to every app,
/// and are not listed.
#[utoipa::path(get, path = "/apps/{app}/members", tag = "members",
    params(("app" = String, Path, description = "The app's name"), MembersQuery),
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "A page of members", body = List<Member>)))]
pub(super) async fn list_members(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<MembersQuery>,
) -> Result<Json<List<Member>>> {
    let app = control_plane.app(&caller, &name, Capability::AppManageMembers).await?;
    let page = PageQuery::new(query.limit, query.offset)?;
    let members = control_plane.store.list_members(&app.id, page.rows()).await?;
    Ok(Json(page.list(members, Member::from)))
}

/// Adds a user to an app, or changes their role. If that gives the user more rights, a calling key
/// needs the scopes that the role uses, and no expiry date.
#[utoipa::path(put, path = "/apps/{app}/members/{user}", tag = "members",
    params(("app" = String, Path, description = "The app's name"),
        ("user" = String, Path, description = "The user's name")),
    request_body = SetMember, security(("key" = ["app:admin"])),
    responses((status = 200, description = "The member", body = Member)))]
pub(super) async fn set_member(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((app, user)): Path<(String, String)>,
    body: Body<SetMember>,
) -> Result<Json<Member>> {
    let app = control_plane.app(&caller, &app, Capability::AppManageMembers).await?;
    let role = body.read()?.role;
    let user = control_plane.store.find_user_by_name(&user).await?;
    let before = control_plane.store.find_app_role(&app.id, &user.id).await?;
    if before.is_none_or(|before| role < before) {
        caller.check_gives(&Scope::of_app_role(role))?;
    }
    let change = changed("set_member", &app.id, &user.id, &user.name)
        .from(&json!({ "role": before }))
        .to(&json!({ "role": role }));
    let now = control_plane.clock.now_us();
    control_plane.change(&caller, change).upsert_member(&app.id, &user.id, role, now).await?;
    control_plane.resume_triggers_of(&Principal::User(user.id.clone())).await?;
    Ok(Json(control_plane.store.find_member(&app.id, &user.id).await?.into()))
}

/// Removes a member from an app. The member's triggers in the app stop.
#[utoipa::path(delete, path = "/apps/{app}/members/{user}", tag = "members",
    params(("app" = String, Path, description = "The app's name"),
        ("user" = String, Path, description = "The user's name")),
    security(("key" = ["app:admin"])),
    responses((status = 204, description = "The user is removed from the app")))]
pub(super) async fn delete_member(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((app, user)): Path<(String, String)>,
) -> Result<StatusCode> {
    let app = control_plane.app(&caller, &app, Capability::AppManageMembers).await?;
    let user = control_plane.store.find_user_by_name(&user).await;
    let user = user.map_err(|error| match error {
        store::Error::NotFound(_) => Error::not_found(Resource::Member),
        other => other.into(),
    })?;
    let member = control_plane.store.find_member(&app.id, &user.id).await?;
    let change = changed("delete_member", &app.id, &user.id, &user.name)
        .from(&json!({ "role": member.role }));
    control_plane.change(&caller, change).delete_member(&app.id, &user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn changed(action: &'static str, app_id: &store::AppId, id: &UserId, name: &str) -> Change {
    Change::new(action, Resource::Member, id.as_str(), name).in_app(app_id)
}
