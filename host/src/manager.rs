//! The control plane: the admin API under `/api/v1`, the probes, the metrics and the page at `/`.
//!
//! Each resource has its own file. They share how requests are read ([`extract`]), the rules for
//! names ([`names`]) and the paging of lists ([`lists`]).
//!
//! Invariant: every path under `/api/v1`, even one that does not exist, needs a key or a session.
//! The only exceptions are signing in and the API's own description.
//! Invariant: each handler checks a capability before it reads the request's content.
//! Invariant: the manager never runs a script; it only parses sources.

pub mod api;
mod api_keys;
mod app_stats;
mod apps;
mod audit;
mod captured;
mod collections;
mod compression;
mod conditional;
mod dashboard;
mod dead_letters;
mod domains;
mod entries;
mod events;
mod executions;
mod extensible;
mod extract;
mod hardening;
mod health;
mod ingress_policy;
mod instance;
mod invitations;
mod lists;
mod members;
mod names;
mod oidc;
mod omitted;
mod openapi;
mod outbox;
mod policies;
mod private_hosts;
mod route_pattern;
mod routes;
mod sample;
mod schedules;
mod scripts;
mod secrets;
mod sessions;
mod source;
mod stats;
mod storage;
mod triggers;
mod users;
mod versions;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::any;
use tokio::sync::{Mutex, MutexGuard};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Auth, Caller, Capability, Change, Principal, stop_reason};
use crate::clock::Clock;
use crate::definitions::Current;
use crate::dns::Resolver;
use crate::error::{Error, Refusal, Result};
use crate::executor::Executor;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::secrets::Secrets;
use crate::store::{App, AppId, EventId, Resource, Script, ScriptId, Store, TriggerDetail};

pub use instance::About;
pub use sample::create_sample;

/// The services and settings of the handlers. Cheap to clone.
#[derive(Clone)]
pub struct ControlPlane {
    /// The database, read through the admin API's connections.
    pub store: Store,
    /// The newest definitions.
    pub definitions: Arc<Current>,
    /// Parses sources.
    pub executor: Executor,
    /// Seals secrets.
    pub secrets: Secrets,
    /// Provides times and ids.
    pub clock: Clock,
    /// Identifies callers.
    pub auth: Auth,
    /// The metrics that `/metrics` returns.
    pub metrics: Metrics,
    /// The limits that no script can exceed.
    pub ceiling: Limits,
    /// The maximum body size of an operation that takes a value, in bytes.
    pub request_bytes_max: usize,
    /// The maximum length of a chain of events that cause each other.
    pub depth_max: i64,
    /// Looks up the proofs of domains.
    pub resolver: Resolver,
    /// Information about this process.
    pub about: Arc<About>,
    /// Notifies the callers that wait for a cancelled event.
    pub on_cancelled: Arc<dyn Fn(&EventId) + Send + Sync>,
    /// Held from the check that an address (an endpoint or a route) is free until it is taken. An
    /// instance has only one manager, so no other process takes addresses.
    pub addressing: Arc<Mutex<()>>,
}

impl ControlPlane {
    /// Returns the app with that name, if the caller has the capability in it.
    async fn app(&self, caller: &Caller, name: &str, capability: Capability) -> Result<App> {
        let app = self.store.find_app_by_name(name).await?;
        self.auth.allow(caller, &app.id, capability, Resource::App).await?;
        Ok(app)
    }

    /// Returns the script with that id, if the caller has the capability in its app.
    async fn script(
        &self,
        caller: &Caller,
        id: &ScriptId,
        capability: Capability,
    ) -> Result<Script> {
        let script = self.store.find_script(id).await?;
        self.auth.allow(caller, &script.app_id, capability, Resource::Script).await?;
        Ok(script)
    }

    /// Returns the store for one change by the caller. It writes the audit entry together with the
    /// change.
    fn change(&self, caller: &Caller, change: Change) -> Store {
        self.store.on_behalf(caller.entry(&self.clock, change))
    }

    /// Returns the script with that id, if it belongs to the app.
    async fn script_of(&self, app_id: &AppId, id: &ScriptId) -> Result<Script> {
        let script = self.store.find_script(id).await?;
        if script.app_id == *app_id { Ok(script) } else { Err(Error::not_found(Resource::Script)) }
    }

    /// Resumes a principal's triggers that can fire again. They get the messages that arrived in
    /// their queues while they were stopped.
    async fn resume_triggers_of(&self, principal: &Principal) -> Result<()> {
        for trigger in self.store.list_triggers_of(&principal.to_string()).await? {
            let is_queue = matches!(trigger.detail, TriggerDetail::Queue { .. });
            if is_queue && trigger.disabled_at.is_none() && stop_reason(&trigger).is_none() {
                self.store.hand_over_messages(&trigger.id).await?;
            }
        }
        Ok(())
    }

    /// Locks [`ControlPlane::addressing`].
    async fn lock_addresses(&self) -> MutexGuard<'_, ()> {
        self.addressing.lock().await
    }
}

/// Returns the router of the control plane. `data_plane` has the operations of the API that run
/// scripts. Their paths start at `/api/v1`, and they are guarded and described like the others.
pub fn router(control_plane: ControlPlane, data_plane: OpenApiRouter) -> Router {
    let large = extract::LargeBodies::of(data_plane.get_openapi());
    let doc = describe(data_plane.get_openapi().clone());
    let api = Router::from(api().with_state(control_plane.clone()).merge(data_plane));
    let probes = Router::from(probes().with_state(control_plane.clone()));
    let sign_in = Router::from(sign_in().with_state(control_plane.clone()))
        .layer(from_fn(extract::refuse_codings));
    let harden = from_fn_with_state(control_plane.auth.clone(), hardening::harden);
    let pages = any(dashboard::answer).with_state(control_plane.auth.clone());
    let guard = from_fn_with_state(control_plane.auth, Auth::require_caller);
    let announced = from_fn_with_state(large, extract::refuse_announced);
    let api = api
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(extract::BODY_BYTES_MAX))
        .layer(from_fn(conditional::answer))
        .layer(from_fn(extract::refuse_codings))
        .layer(guard)
        .route_layer(announced);
    Router::new()
        .nest("/api/v1", api)
        .nest("/api/v1", sign_in)
        .merge(probes)
        .merge(openapi::router(&doc))
        .fallback_service(pages)
        .method_not_allowed_fallback(wrong_method)
        .layer(harden)
        .layer(compression::layer())
        .layer(from_fn(compression::protect))
}

/// Returns the OpenAPI description of everything that [`router`] serves, generated from the
/// handlers. `data_plane` describes the operations that run scripts.
#[must_use]
pub fn describe(data_plane: OpenApi) -> serde_json::Value {
    let api = api().merge(sign_in()).into_openapi();
    openapi::document(api.merge_from(data_plane), probes().into_openapi())
}

/// The admin API. Every path starts at `/api/v1`.
fn api() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::default()
        .routes(routes!(sessions::get_session))
        .routes(routes!(sessions::sign_out))
        .routes(routes!(sessions::sign_out_everywhere))
        .routes(routes!(sessions::change_password))
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(users::get_user, users::update_user, users::delete_user))
        .routes(routes!(users::invite_user))
        .routes(routes!(api_keys::list_api_keys, api_keys::create_api_key))
        .routes(routes!(api_keys::delete_api_key))
        .routes(routes!(audit::list_audit))
        .routes(routes!(audit::list_app_audit))
        .routes(routes!(members::list_members))
        .routes(routes!(members::set_member, members::delete_member))
        .routes(routes!(apps::list_apps, apps::create_app))
        .routes(routes!(apps::get_app, apps::update_app, apps::delete_app))
        .routes(routes!(ingress_policy::get_ingress, ingress_policy::update_ingress))
        .routes(routes!(domains::list_domains, domains::claim_domain))
        .routes(routes!(domains::release_domain))
        .routes(routes!(domains::verify_domain))
        .routes(routes!(domains::approve_domain))
        .routes(routes!(scripts::list_scripts, scripts::create_script))
        .routes(routes!(scripts::get_script, scripts::update_script, scripts::delete_script))
        .routes(routes!(source::check_script))
        .routes(routes!(versions::list_versions))
        .routes(routes!(versions::get_version))
        .routes(routes!(versions::rollback_script))
        .routes(routes!(routes::list_routes, routes::create_route))
        .routes(routes!(routes::get_route, routes::update_route, routes::delete_route))
        .routes(routes!(triggers::list_triggers, triggers::create_trigger))
        .routes(routes!(triggers::get_trigger, triggers::update_trigger, triggers::delete_trigger))
        .routes(routes!(secrets::list_secrets))
        .routes(routes!(secrets::put_secret, secrets::delete_secret))
        .routes(routes!(private_hosts::get_outbound, private_hosts::put_outbound))
        .routes(routes!(outbox::list_outbox))
        .routes(routes!(outbox::list_backlog))
        .routes(routes!(outbox::get_event))
        .routes(routes!(dead_letters::list_dead_letters))
        .routes(routes!(dead_letters::count_dead_letters))
        .routes(routes!(dead_letters::replay_dead_letters))
        .routes(routes!(dead_letters::resolve_dead_letters))
        .routes(routes!(dead_letters::get_dead_letter))
        .routes(routes!(dead_letters::replay_dead_letter))
        .routes(routes!(dead_letters::resolve_dead_letter))
        .routes(routes!(collections::list_collections))
        .routes(routes!(collections::list_entries))
        .routes(routes!(collections::list_buckets))
        .routes(routes!(collections::list_files))
        .routes(routes!(executions::list_script_executions))
        .routes(routes!(executions::list_app_executions, executions::purge_app_executions))
        .routes(routes!(executions::purge_executions))
        .routes(routes!(executions::list_abandoned_executions))
        .routes(routes!(executions::get_execution))
        .routes(routes!(captured::list_captured_events))
        .routes(routes!(stats::get_stats))
        .routes(routes!(app_stats::list_app_stats))
        .routes(routes!(schedules::preview_schedule))
        .routes(routes!(instance::get_instance))
        .routes(routes!(instance::list_settings))
        .merge(entries::api())
        .merge(events::api())
}

/// The endpoints of the admin API for callers that are not signed in.
fn sign_in() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::default()
        .routes(routes!(sessions::sign_in))
        .routes(routes!(sessions::get_sign_in_options))
        .routes(routes!(oidc::start_oidc))
        .routes(routes!(oidc::finish_oidc))
        .routes(routes!(invitations::get_invitation))
        .routes(routes!(invitations::accept_invitation))
}

/// The endpoints for supervisors.
fn probes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::default()
        .routes(routes!(health::get_live))
        .routes(routes!(health::get_ready))
        .routes(routes!(health::get_metrics))
}

async fn unknown_path() -> Error {
    Error::NotFound(Refusal::new("path_not_found", "the path does not exist"))
}

async fn wrong_method() -> Error {
    Error::MethodNotAllowed
}
