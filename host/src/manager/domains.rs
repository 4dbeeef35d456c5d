//! `/apps/{app}/domains`: the host names at whose root an app's routes may stand.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use super::names::normalise_host;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Result};
use crate::store::{self, Resource};

/// A claimed domain.
#[derive(Debug, Serialize, ToSchema)]
pub struct Domain {
    /// The host name, in lower case.
    host: String,
    /// When it was claimed, in microseconds since 1970.
    created_at: i64,
}

impl From<store::Domain> for Domain {
    fn from(domain: store::Domain) -> Self {
        Self { host: domain.host, created_at: domain.created_at }
    }
}

/// A domain to be claimed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDomain)]
pub struct ClaimDomain {
    /// A DNS name without a port.
    #[schema(example = "shop.example.org")]
    host: String,
}

/// Which domains.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DomainsQuery {
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// So many are skipped first.
    offset: Option<i64>,
}

/// Lists an app's domains, newest first.
#[utoipa::path(get, path = "/apps/{app}/domains", tag = "domains",
    params(("app" = String, Path, description = "The app's name"), DomainsQuery),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "A page of domains", body = List<Domain>)))]
pub(super) async fn list_domains(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<DomainsQuery>,
) -> Result<Json<List<Domain>>> {
    let page = Page::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let domains = control_plane.store.list_domains(&app.id).await?;
    Ok(Json(page.list_part(domains, Domain::from)))
}

/// Claims a domain for an app.
#[utoipa::path(post, path = "/apps/{app}/domains", tag = "domains",
    params(("app" = String, Path, description = "The app's name")), request_body = ClaimDomain,
    security(("key" = ["domain:manage"])),
    responses((status = 201, description = "The claimed domain", body = Domain)))]
pub(super) async fn claim_domain(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<ClaimDomain>,
) -> Result<(StatusCode, Json<Domain>)> {
    let app = control_plane.app(&caller, &name, Capability::AppManageDomains).await?;
    let host = normalise_host(&body.read()?.host)?;
    let created_at = control_plane.clock.now_us();
    let domain = store::Domain { host, app_id: app.id, created_at };
    let change = Change::new("claim_domain", Resource::Domain, &domain.host, &domain.host);
    let store = control_plane.change(&caller, change.in_app(&domain.app_id));
    let domain = store.insert_domain(domain).await?;
    Ok((StatusCode::CREATED, Json(domain.into())))
}

/// Gives a domain up and deletes the app's routes there.
#[utoipa::path(delete, path = "/apps/{app}/domains/{host}", tag = "domains",
    params(("app" = String, Path, description = "The app's name"),
        ("host" = String, Path, description = "The host name")),
    security(("key" = ["domain:manage"])),
    responses((status = 204, description = "It is free")))]
pub(super) async fn release_domain(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((name, host)): Path<(String, String)>,
) -> Result<StatusCode> {
    let app = control_plane.app(&caller, &name, Capability::AppManageDomains).await?;
    let host = normalise_host(&host).map_err(|_| Error::not_found(Resource::Domain))?;
    let change = Change::new("release_domain", Resource::Domain, &host, &host).in_app(&app.id);
    control_plane.change(&caller, change).delete_domain(&app.id, &host).await?;
    Ok(StatusCode::NO_CONTENT)
}
