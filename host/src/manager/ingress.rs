//! `/apps/{app}/ingress`: what an app asks of every request to its routes and endpoints.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use super::extract::{Body, Path};
use super::policies;
use super::routes::routes_of;
use crate::auth::{Caller, Capability, Change};
use crate::error::Result;
use crate::store::{AppId, Endpoints, IngressPolicy, RateLimit, Resource, ScriptId};

/// What an app asks of every request.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ingress {
    /// How often; `null` for what the settings say.
    rate_limit: Option<RateLimit>,
    /// How many requests are run at once on each node; `null` for what the settings say.
    concurrency_max: Option<u32>,
    /// Which scripts answer at their own endpoints, `/x/{app}/{script}`.
    endpoints: Endpoints,
    /// Whether a newer release has saved the policy and this one does not understand it. The
    /// app is closed then, until the policy is saved again.
    unknown: bool,
    /// The ids of the scripts that a route with `auth` leads to. Their endpoints are closed,
    /// unless `endpoints` is `open`: then they are ways around it.
    guarded_script_ids: BTreeSet<String>,
}

/// What an app asks of every request from now on; what is left out is as it was at first.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IngressChange)]
pub struct UpdateIngress {
    /// How often.
    #[serde(default)]
    rate_limit: Option<RateLimit>,
    /// How many requests are run at once on each node, 1 to 10,000.
    #[serde(default)]
    concurrency_max: Option<u32>,
    /// Which scripts answer at their own endpoints, `/x/{app}/{script}`.
    #[serde(default)]
    endpoints: Endpoints,
}

/// Shows what an app asks of every request.
#[utoipa::path(get, path = "/apps/{app}/ingress", tag = "routes",
    params(("app" = String, Path, description = "The app's name")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "Its policy", body = Ingress)))]
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

/// Changes what an app asks of every request, to its routes as well as to its scripts'
/// endpoints.
#[utoipa::path(put, path = "/apps/{app}/ingress", tag = "routes",
    params(("app" = String, Path, description = "The app's name")), request_body = UpdateIngress,
    security(("key" = ["route:write"])),
    responses((status = 200, description = "The policy as it is now", body = Ingress)))]
pub(super) async fn update_ingress(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<UpdateIngress>,
) -> Result<Json<Ingress>> {
    let app = control_plane.app(&caller, &name, Capability::AppManageRoutes).await?;
    let body = body.read()?;
    policies::check_limits(body.rate_limit.as_ref(), body.concurrency_max)?;
    let policy = IngressPolicy {
        is_unknown: false,
        rate_limit: body.rate_limit,
        concurrency_max: body.concurrency_max,
        endpoints: body.endpoints,
    };
    let before = control_plane.store.find_ingress(&app.id).await?;
    let change = Change::new("update_ingress", Resource::App, app.id.as_str(), &app.name);
    let change = change.in_app(&app.id).from(&before).to(&policy);
    let now = control_plane.clock.now_us();
    control_plane.change(&caller, change).update_ingress(&app.id, &policy, now).await?;
    let guarded = guarded_scripts(&control_plane, &app.id).await?;
    Ok(Json(shown(policy, guarded)))
}

/// Which scripts of an app may answer at their own endpoints, as far as the app and its
/// routes say.
pub(super) struct OpenEndpoints {
    policy: Endpoints,
    guarded: BTreeSet<ScriptId>,
}

impl OpenEndpoints {
    pub(super) async fn of(control_plane: &ControlPlane, app_id: &AppId) -> Result<Self> {
        let policy = control_plane.store.find_ingress(app_id).await?.endpoints;
        let guarded = match policy {
            Endpoints::Unguarded => guarded_scripts(control_plane, app_id).await?,
            Endpoints::Open | Endpoints::Closed => BTreeSet::new(),
        };
        Ok(Self { policy, guarded })
    }

    pub(super) fn are_open_for(&self, script: &ScriptId) -> bool {
        match self.policy {
            Endpoints::Unguarded => !self.guarded.contains(script),
            Endpoints::Open => true,
            Endpoints::Closed => false,
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
        rate_limit: policy.rate_limit,
        concurrency_max: policy.concurrency_max,
        endpoints: policy.endpoints,
        unknown: policy.is_unknown,
        guarded_script_ids: guarded.into_iter().map(String::from).collect(),
    }
}
