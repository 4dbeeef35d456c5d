//! `/apps/{app}/ingress`: the policy for every request to an app's routes and endpoints.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use super::extract::{Body, Path};
use super::policies;
use super::policies::shape::{Endpoints, RateLimit};
use super::routes::routes_of;
use crate::auth::{Caller, Capability, Change};
use crate::error::Result;
use crate::store::{self, AppId, IngressPolicy, Resource, ScriptId};

/// The ingress policy of an app.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ingress {
    /// The rate limit; `null` for the default of the settings.
    rate_limit: Option<RateLimit>,
    /// The most requests run at the same time on each node; `null` for the default of the settings.
    concurrency_max: Option<u32>,
    /// The scripts that answer at their own endpoints, `/x/{app}/{script}`.
    endpoints: Endpoints,
    /// Whether a newer release saved the policy and this release cannot read it. The app is then
    /// closed until the policy is saved again.
    unknown: bool,
    /// The ids of the scripts that a route with `auth` leads to. Their endpoints are closed, unless
    /// `endpoints` is `open`: then callers can bypass the route through them.
    guarded_script_ids: BTreeSet<String>,
}

/// The new ingress policy. An omitted field gets its default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IngressChange)]
pub struct UpdateIngress {
    /// The rate limit.
    #[serde(default)]
    rate_limit: Option<RateLimit>,
    /// The most requests run at the same time on each node, 1 to 10,000.
    #[serde(default)]
    concurrency_max: Option<u32>,
    /// The scripts that answer at their own endpoints, `/x/{app}/{script}`.
    #[serde(default)]
    endpoints: Endpoints,
}

/// Shows an app's ingress policy.
#[utoipa::path(get, path = "/apps/{app}/ingress", tag = "routes",
    params(("app" = String, Path, description = "The app's name")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "The policy", body = Ingress)))]
pub(super) async fn get_ingress(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Ingress>> {
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let policy = control_plane.store.find_ingress(&app.id).await?;
    let guarded = guarded_scripts(&control_plane, &app.id).await?;
    Ok(Json(shown(policy, guarded)))
}

/// Replaces an app's ingress policy. It applies to the app's routes and to the endpoints of its
/// scripts.
#[utoipa::path(put, path = "/apps/{app}/ingress", tag = "routes",
    params(("app" = String, Path, description = "The app's name")), request_body = UpdateIngress,
    security(("key" = ["route:write"])),
    responses((status = 200, description = "The new policy", body = Ingress)))]
pub(super) async fn update_ingress(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<UpdateIngress>,
) -> Result<Json<Ingress>> {
    let app = control_plane.app(&caller, &name, Capability::AppManageRoutes).await?;
    let body = body.read()?;
    let policy = IngressPolicy {
        is_unknown: false,
        rate_limit: body.rate_limit.map(Into::into),
        concurrency_max: body.concurrency_max,
        endpoints: body.endpoints.into(),
    };
    policies::check_limits(policy.rate_limit.as_ref(), policy.concurrency_max)?;
    let before = control_plane.store.find_ingress(&app.id).await?;
    let change = Change::new("update_ingress", Resource::App, app.id.as_str(), &app.name);
    let change = change.in_app(&app.id).from(&before).to(&policy);
    let now = control_plane.clock.now_us();
    control_plane.change(&caller, change).update_ingress(&app.id, &policy, now).await?;
    let guarded = guarded_scripts(&control_plane, &app.id).await?;
    Ok(Json(shown(policy, guarded)))
}

/// The scripts of an app whose endpoints are open, as far as the app's policy and routes decide.
pub(super) struct OpenEndpoints {
    policy: store::Endpoints,
    guarded: BTreeSet<ScriptId>,
}

impl OpenEndpoints {
    pub(super) async fn of(control_plane: &ControlPlane, app_id: &AppId) -> Result<Self> {
        let policy = control_plane.store.find_ingress(app_id).await?.endpoints;
        let guarded = match policy {
            store::Endpoints::Unguarded => guarded_scripts(control_plane, app_id).await?,
            store::Endpoints::Open | store::Endpoints::Closed => BTreeSet::new(),
        };
        Ok(Self { policy, guarded })
    }

    pub(super) fn are_open_for(&self, script: &ScriptId) -> bool {
        match self.policy {
            store::Endpoints::Unguarded => !self.guarded.contains(script),
            store::Endpoints::Open => true,
            store::Endpoints::Closed => false,
        }
    }
}

async fn guarded_scripts(
    control_plane: &ControlPlane,
    app_id: &AppId,
) -> Result<BTreeSet<ScriptId>> {
    let routes = routes_of(control_plane, app_id).await?;
    let guarded = routes.into_iter().filter(|route| !route.policy.auth.is_none());
    Ok(guarded.map(|route| route.script_id).collect())
}

fn shown(policy: IngressPolicy, guarded: BTreeSet<ScriptId>) -> Ingress {
    Ingress {
        rate_limit: policy.rate_limit.map(Into::into),
        concurrency_max: policy.concurrency_max,
        endpoints: policy.endpoints.into(),
        unknown: policy.is_unknown,
        guarded_script_ids: guarded.into_iter().map(String::from).collect(),
    }
}
