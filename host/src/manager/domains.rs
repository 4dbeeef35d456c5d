//! `/apps/{app}/domains`: the host names at whose root an app's routes may stand.
//!
//! ```text
//! claim ─▶ pending ─┬─ verify: a TXT record has the app's token ─┬─▶ verified: served
//!                   └─ approve: an admin of the instance says so ─┘
//! ```
//!
//! Invariant: a host of the dashboard or of the API, on any node, is nobody's to claim.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use super::names::check_host;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::hostname::{Hostname, ReservedHosts};
use crate::store::{self, App, Resource};

/// What stands before a host in the name of its TXT record.
const PROOF_LABEL: &str = "_picloud";
/// What stands before the token in the TXT record.
const PROOF_PREFIX: &str = "picloud-verification=";
/// Who has verified a domain whose TXT record was found.
const BY_DNS: &str = "dns";

/// Whether a domain is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DomainState {
    /// It was claimed, and nobody has proved that it is the app's. It is not served.
    Pending,
    /// It is served, unless `closed` says why not.
    Verified,
}

/// Why a verified domain is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DomainClosed {
    /// The host is the platform's own.
    HostReserved,
}

/// The DNS record that proves that a domain is the app's.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DomainProof {
    /// Its type.
    #[schema(example = "TXT")]
    r#type: &'static str,
    /// Its name.
    #[schema(example = "_picloud.shop.example.org")]
    name: String,
    /// Its value.
    value: String,
}

/// A claimed domain.
#[derive(Debug, Serialize, ToSchema)]
pub struct Domain {
    /// The host name, in lower case.
    host: String,
    /// Whether it is served.
    state: DomainState,
    /// Why it is not served although it is verified; `null` if it is served or pending.
    closed: Option<DomainClosed>,
    /// The DNS record to make while it is pending; `null` when it is verified.
    proof: Option<DomainProof>,
    /// When it was claimed, in microseconds since 1970.
    created_at: i64,
    /// When it was verified, in microseconds since 1970; `null` while it is pending.
    verified_at: Option<i64>,
    /// `dns`, the principal who has approved it, or `upgrade` for a domain that was claimed
    /// before there were proofs; `null` while it is pending.
    verified_by: Option<String>,
}

impl Domain {
    fn of(domain: store::Domain, reserved: &ReservedHosts) -> Self {
        let is_verified = domain.verified_at.is_some();
        let is_reserved =
            Hostname::parse(&domain.host).map_or(true, |host| reserved.includes(&host));
        Self {
            state: if is_verified { DomainState::Verified } else { DomainState::Pending },
            closed: (is_verified && is_reserved).then_some(DomainClosed::HostReserved),
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
        r#type: "TXT",
        name: format!("{PROOF_LABEL}.{host}"),
        value: format!("{PROOF_PREFIX}{token}"),
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
    let page = Page::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let domains = control_plane.store.list_domains(&app.id).await?;
    let reserved = control_plane.reserved_hosts().await?;
    Ok(Json(page.list_part(domains, |domain| Domain::of(domain, &reserved))))
}

/// Claims a domain for an app. It is pending then, and served when it is verified.
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

/// Looks for the DNS record that proves that a domain is the app's. It is served then.
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
            tracing::info!(%error, name = wanted.name, "a DNS record could not be looked up");
            let message = format!("the DNS record {} could not be looked up", wanted.name);
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

/// Approves a domain without a DNS record, as an admin of the instance. It is served then.
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

/// Gives a domain up and deletes the app's routes there. With routes there, it needs what
/// deleting them needs too.
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
    let host = control_plane.domain(&app, &host).await?.host;
    let routes = control_plane.store.list_routes_on(&app.id, &host).await?;
    if !routes.is_empty() {
        // They are deleted too, and a script without a guarded route may have an open endpoint.
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
    /// The app's domain of that host, in any spelling.
    async fn domain(&self, app: &App, host: &str) -> Result<store::Domain> {
        // One that was claimed before a rule can be no name any more.
        let host = check_host(host).map_or_else(|_| host.to_owned(), |host| host.to_string());
        Ok(self.store.find_domain(&app.id, &host).await?)
    }

    /// What nobody may claim, on any node.
    async fn reserved_hosts(&self) -> Result<ReservedHosts> {
        let hosts = self.store.list_reserved_hosts().await?;
        Ok(ReservedHosts::of(hosts.iter().map(String::as_str)))
    }

    /// Refuses a host of the platform: one that a node is configured with, and the one on
    /// which this request has reached the API.
    async fn check_claimable(&self, host: &Hostname, headers: &HeaderMap) -> Result<ReservedHosts> {
        let reserved = self.reserved_hosts().await?;
        let asked = Hostname::of_request(headers, &Uri::default()).ok().flatten();
        if reserved.includes(host) || asked.as_ref() == Some(host) {
            let message = format!("{host} is a host of PiCloud itself, so no app can claim it");
            return Err(Error::Conflict(Refusal::new("host_reserved", message)));
        }
        Ok(reserved)
    }

    /// Makes a pending domain a verified one.
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
        "the DNS has no TXT record {} with the value {}; it can take a while until a new one is seen",
        wanted.name, wanted.value
    );
    Refusal::new("domain_not_proved", message)
        .with("name", wanted.name.as_str())
        .with("value", wanted.value.as_str())
        .with("found", found)
}
