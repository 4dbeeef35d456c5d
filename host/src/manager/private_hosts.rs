//! `/apps/{app}/outbound`: the private hosts that an app's scripts can call.
//!
//! Changing this list opens the operator's own network to scripts. It therefore needs a right of
//! the instance, not of the app.

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

/// The private hosts that an app's scripts can call.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Outbound)]
pub struct PutOutbound {
    /// Hosts without a public address: names or addresses, each with or without a port; at most 50.
    /// The hosts open to all apps are allowed in addition.
    #[schema(example = json!(["intranet.example:8080", "10.0.0.7"]))]
    pub private_hosts: Vec<String>,
}

/// The private hosts in a response. It has the schema of [`PutOutbound`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Outbound {
    /// The hosts.
    pub private_hosts: Vec<String>,
}

impl Outbound {
    fn of_text(hosts: &str) -> Self {
        Self { private_hosts: hosts.split_whitespace().map(str::to_owned).collect() }
    }
}

/// Shows the private hosts that an app's scripts can call.
#[utoipa::path(get, path = "/apps/{app}/outbound", tag = "outbound",
    params(("app" = String, Path, description = "The app's name")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "The private hosts", body = PutOutbound)))]
pub(super) async fn get_outbound(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Outbound>> {
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let hosts = control_plane.store.find_private_hosts(&app.id).await?;
    Ok(Json(Outbound::of_text(&hosts)))
}

/// Replaces the list of private hosts that an app's scripts can call.
#[utoipa::path(put, path = "/apps/{app}/outbound", tag = "outbound",
    params(("app" = String, Path, description = "The app's name")), request_body = PutOutbound,
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The new list", body = PutOutbound)))]
pub(super) async fn put_outbound(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<PutOutbound>,
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
