//! `/apps/{app}/outbound`: what an app's scripts may reach beside the public internet.
//!
//! Whoever sets it lets scripts into the operator's own network: it is the instance's
//! business, not the app's.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use super::extract::{Body, Path};
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::private_hosts::{PrivateHost, PrivateHostError};
use crate::store::Resource;

/// The most hosts of an app.
pub(super) const HOSTS_MAX: usize = 50;

/// What is open to an app's scripts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// Hosts that are reached although they have no public address: names or addresses,
    /// each with or without a port; at most 50. What is open to all apps comes beside them.
    #[schema(example = json!(["intranet.example:8080", "10.0.0.7"]))]
    private_hosts: Vec<String>,
}

impl Outbound {
    fn of_text(hosts: &str) -> Self {
        Self { private_hosts: hosts.split_whitespace().map(str::to_owned).collect() }
    }
}

/// What is open to an app's scripts.
#[utoipa::path(get, path = "/apps/{app}/outbound", tag = "outbound",
    params(("app" = String, Path, description = "The app's name")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "What is open", body = Outbound)))]
pub(super) async fn get_outbound(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Outbound>> {
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let hosts = control_plane.store.find_private_hosts(&app.id).await?;
    Ok(Json(Outbound::of_text(&hosts)))
}

/// Sets what is open to an app's scripts, in the place of what was.
#[utoipa::path(put, path = "/apps/{app}/outbound", tag = "outbound",
    params(("app" = String, Path, description = "The app's name")), request_body = Outbound,
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "What is open now", body = Outbound)))]
pub(super) async fn put_outbound(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<Outbound>,
) -> Result<Json<Outbound>> {
    let app = control_plane.app(&caller, &name, Capability::AppManagePrivateHosts).await?;
    let body = body.read()?;
    let refused = |reason: String| Error::Invalid(Refusal::field("private_hosts", &reason));
    if body.private_hosts.len() > HOSTS_MAX {
        return Err(refused(format!("must be at most {HOSTS_MAX} hosts")));
    }
    let parse = |host: &String| {
        let wrong = |error: PrivateHostError| refused(format!("must be {error}, not {host:?}"));
        host.parse::<PrivateHost>().map(|host| host.to_string()).map_err(wrong)
    };
    let private_hosts = body.private_hosts.iter().map(parse).collect::<Result<Vec<_>>>()?;
    let before = control_plane.store.find_private_hosts(&app.id).await?;
    let after = Outbound { private_hosts };
    let change = Change::new("put_outbound", Resource::App, app.id.as_str(), &app.name)
        .in_app(&app.id)
        .from(&Outbound::of_text(&before))
        .to(&after);
    let (text, now) = (after.private_hosts.join(" "), control_plane.clock.now_us());
    control_plane.change(&caller, change).put_private_hosts(&app.id, text, now).await?;
    Ok(Json(after))
}
