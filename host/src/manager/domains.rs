//! `/apps/{app}/domains`: the host names on which an app can have routes.
//!
//! ```text
//! claim ─▶ pending ─┬─ verify: a TXT record has the app's token ─┬─▶ verified: served
//!                   └─ approve: an instance admin approves it ─┘
//! ```
//!
//! Invariant: an app can never claim a host of the dashboard or of the API, on any node.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Body, Path, Query};
use super::lists::{List, PageQuery};
use super::names::check_host;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::hostname::{Hostname, ReservedHosts};
use crate::store::{self, App, Resource};

/// The label before a host in the name of its TXT record.
const PROOF_LABEL: &str = "_picloud";
/// The prefix of the token in the TXT record.
const PROOF_PREFIX: &str = "picloud-verification=";
/// The `verified_by` of a domain that was verified by its TXT record.
const BY_DNS: &str = "dns";

/// Whether a domain is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DomainState {
    /// The domain is claimed, but its ownership is not proved. It is not served.
    Pending,
    /// The domain is served, unless `closed` gives a reason why not.
    Verified,
}

/// Why a verified domain is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DomainClosed {
    /// The host is used by PiCloud itself.
    HostReserved,
}

/// The DNS record that proves that the app owns a domain.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct DomainProof {
    /// The record's type.
    #[schema(value_type = String, example = "TXT")]
    pub r#type: Cow<'static, str>,
    /// The record's name.
    #[schema(example = "_picloud.shop.example.org")]
    pub name: String,
    /// The record's value.
    pub value: String,
}

/// A claimed domain.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Domain {
    /// The host name, in lower case.
    pub host: String,
    /// Whether it is served.
    #[schema(value_type = DomainState)]
    pub state: Extensible<DomainState>,
    /// Why a verified domain is not served; `null` if it is served or pending.
    #[schema(value_type = Option<DomainClosed>)]
    pub closed: Option<Extensible<DomainClosed>>,
    /// The DNS record to create while the domain is pending; `null` once it is verified.
    pub proof: Option<DomainProof>,
    /// When it was claimed, in microseconds since 1970.
    pub created_at: i64,
    /// When it was verified, in microseconds since 1970; `null` while it is pending.
    pub verified_at: Option<i64>,
    /// `dns`, the principal that approved it, or `upgrade` for a domain claimed before proofs
    /// existed; `null` while it is pending.
    pub verified_by: Option<String>,
}

impl Domain {
    fn of(domain: store::Domain, reserved: &ReservedHosts) -> Self {
        let is_verified = domain.verified_at.is_some();
        let is_reserved =
            Hostname::parse(&domain.host).map_or(true, |host| reserved.includes(&host));
        Self {
            state: if is_verified { DomainState::Verified } else { DomainState::Pending }.into(),
            closed: (is_verified && is_reserved).then_some(DomainClosed::HostReserved.into()),
            proof: domain.token.map(|token| proof(&domain.host, &token)),
            host: domain.host,
            created_at: domain.created_at,
            verified_at: domain.verified_at,
            verified_by: domain.verified_by,
        }
    }
}

fn proof(host: &str, token: &str) -> DomainProof {
    DomainProof {
        r#type: "TXT".into(),
        name: format!("{PROOF_LABEL}.{host}"),
        value: format!("{PROOF_PREFIX}{token}"),
    }
}

/// The domain to claim.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDomain)]
pub struct ClaimDomain {
    /// A DNS name without a port.
    #[schema(example = "shop.example.org")]
    pub host: String,
}

/// The page of domains to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DomainsQuery {
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
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
    let page = PageQuery::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let domains = control_plane.store.list_domains(&app.id).await?;
    let reserved = control_plane.reserved_hosts().await?;
    Ok(Json(page.list_part(domains, |domain| Domain::of(domain, &reserved))))
}

/// Claims a domain for an app. The domain is pending, and is not served until it is verified.
#[utoipa::path(post, path = "/apps/{app}/domains", tag = "domains",
    params(("app" = String, Path, description = "The app's name")), request_body = ClaimDomain,
    security(("key" = ["domain:manage"])),
    responses((status = 201, description = "The claimed domain", body = Domain)))]
pub(super) async fn claim_domain(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body<ClaimDomain>,
) -> Result<(StatusCode, Json<Domain>)> {
    let app = control_plane.app(&caller, &name, Capability::AppManageDomains).await?;
    let host = check_host(&body.read()?.host)?;
    let reserved = control_plane.check_claimable(&host, &headers).await?;
    let claim = store::NewClaim {
        host: host.to_string(),
        app_id: app.id,
        token: hex::encode(control_plane.clock.random::<16>()),
        created_at: control_plane.clock.now_us(),
    };
    let change = Change::new("claim_domain", Resource::Domain, &claim.host, &claim.host)
        .in_app(&claim.app_id)
        .to(&json!({ "state": DomainState::Pending }));
    let domain = control_plane.change(&caller, change).claim_domain(claim).await?;
    Ok((StatusCode::CREATED, Json(Domain::of(domain, &reserved))))
}

/// Looks up the DNS record that proves that the app owns a domain. If found, the domain is served.
#[utoipa::path(post, path = "/apps/{app}/domains/{host}/verify", tag = "domains",
    params(("app" = String, Path, description = "The app's name"),
        ("host" = String, Path, description = "The host name")),
    security(("key" = ["domain:manage"])),
    responses((status = 200, description = "The verified domain", body = Domain)))]
pub(super) async fn verify_domain(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((name, host)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Domain>> {
    let app = control_plane.app(&caller, &name, Capability::AppManageDomains).await?;
    let domain = control_plane.domain(&app, &host).await?;
    if let Some(token) = &domain.token {
        let wanted = proof(&domain.host, token);
        let found = control_plane.resolver.texts(&wanted.name).await.map_err(|error| {
            tracing::info!(%error, name = wanted.name, "the lookup of a DNS record failed");
            let message = format!("the lookup of the DNS record {} failed", wanted.name);
            Error::Unavailable {
                refusal: Refusal::new("dns_unavailable", message),
                retry_after_s: 5,
            }
        })?;
        if !found.iter().any(|text| text.trim() == wanted.value) {
            return Err(Error::Conflict(not_proved(&wanted, found)));
        }
    }
    control_plane.verify(&caller, &app, domain, "verify_domain", BY_DNS, &headers).await
}

/// Approves a domain without a DNS record, as an instance admin. The domain is then served.
#[utoipa::path(post, path = "/apps/{app}/domains/{host}/approve", tag = "domains",
    params(("app" = String, Path, description = "The app's name"),
        ("host" = String, Path, description = "The host name")),
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The verified domain", body = Domain)))]
pub(super) async fn approve_domain(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((name, host)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Domain>> {
    let app = control_plane.app(&caller, &name, Capability::AppApproveDomains).await?;
    let domain = control_plane.domain(&app, &host).await?;
    let by = caller.principal.to_string();
    control_plane.verify(&caller, &app, domain, "approve_domain", &by, &headers).await
}

/// Releases a domain and deletes the app's routes there. If it has routes, the caller also needs
/// the right to delete routes.
#[utoipa::path(delete, path = "/apps/{app}/domains/{host}", tag = "domains",
    params(("app" = String, Path, description = "The app's name"),
        ("host" = String, Path, description = "The host name")),
    security(("key" = ["domain:manage"])),
    responses((status = 204, description = "The domain is released")))]
pub(super) async fn release_domain(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((name, host)): Path<(String, String)>,
) -> Result<StatusCode> {
    let app = control_plane.app(&caller, &name, Capability::AppManageDomains).await?;
    let host = control_plane.domain(&app, &host).await?.host;
    let routes = control_plane.store.list_routes_on(&app.id, &host).await?;
    if !routes.is_empty() {
        // Routes are deleted too. A script that loses its guarded route can get an open endpoint.
        let capability = Capability::AppManageRoutes;
        control_plane.auth.allow(&caller, &app.id, capability, Resource::Domain).await?;
    }
    let routes: Vec<_> = routes.iter().map(|route| json!([route.method, route.path])).collect();
    let change = Change::new("release_domain", Resource::Domain, &host, &host)
        .in_app(&app.id)
        .from(&json!({ "routes": routes }));
    control_plane.change(&caller, change).delete_domain(&app.id, &host).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl ControlPlane {
    /// Returns the app's domain with that host, in any spelling.
    async fn domain(&self, app: &App, host: &str) -> Result<store::Domain> {
        // A domain claimed before a rule existed may not be a valid name any more.
        let host = check_host(host).map_or_else(|_| host.to_owned(), |host| host.to_string());
        Ok(self.store.find_domain(&app.id, &host).await?)
    }

    /// Returns the hosts that no app can claim, on any node.
    async fn reserved_hosts(&self) -> Result<ReservedHosts> {
        let hosts = self.store.list_reserved_hosts().await?;
        Ok(ReservedHosts::of(hosts.iter().map(String::as_str)))
    }

    /// Refuses a host of the platform: one configured on a node, or the host on which this request
    /// came to the API.
    async fn check_claimable(&self, host: &Hostname, headers: &HeaderMap) -> Result<ReservedHosts> {
        let reserved = self.reserved_hosts().await?;
        let asked = Hostname::of_request(headers, &Uri::default()).ok().flatten();
        if reserved.includes(host) || asked.as_ref() == Some(host) {
            let message = format!("{host} is a host of PiCloud itself, so no app can claim it");
            return Err(Error::Conflict(Refusal::new("host_reserved", message)));
        }
        Ok(reserved)
    }

    /// Marks a pending domain as verified.
    async fn verify(
        &self,
        caller: &Caller,
        app: &App,
        domain: store::Domain,
        action: &'static str,
        by: &str,
        headers: &HeaderMap,
    ) -> Result<Json<Domain>> {
        let host = check_host(&domain.host)?;
        let reserved = self.check_claimable(&host, headers).await?;
        if domain.verified_at.is_some() {
            return Ok(Json(Domain::of(domain, &reserved)));
        }
        let change = Change::new(action, Resource::Domain, &domain.host, &domain.host)
            .in_app(&app.id)
            .from(&json!({ "state": DomainState::Pending }))
            .to(&json!({ "state": DomainState::Verified, "verified_by": by }));
        let store = self.change(caller, change);
        let now = self.clock.now_us();
        let domain = store.verify_domain(&app.id, &domain.host, by, now).await?;
        Ok(Json(Domain::of(domain, &reserved)))
    }
}

fn not_proved(wanted: &DomainProof, found: Vec<String>) -> Refusal {
    let message = format!(
        "found no TXT record {} with the value {}; a new record can take a while to become visible",
        wanted.name, wanted.value
    );
    Refusal::new("domain_not_proved", message)
        .with("name", wanted.name.as_str())
        .with("value", wanted.value.as_str())
        .with("found", found)
}
