//! The control plane: the admin API under `/api/v1`, the probes, the metrics and
//! the page at `/`.
//!
//! One file per resource; what they share is how a request is read ([`extract`]),
//! what things may be called ([`names`]) and how lists are paged ([`lists`]).
//!
//! Invariant: whatever is under `/api/v1`, also a path that does not exist, needs a key
//! or a session; only signing in and the API's own description do not.
//! Invariant: each handler asks for a capability before it looks at what was sent.
//! Invariant: nothing here runs a script; a source is only parsed.

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
mod executions;
mod extract;
mod hardening;
mod health;
mod ingress;
mod instance;
mod invitations;
mod lists;
mod members;
mod names;
mod oidc;
mod openapi;
mod outbound;
mod outbox;
mod policies;
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
use crate::dns::Resolver;
use crate::error::{Error, Refusal, Result};
use crate::executor::Executor;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::secrets::Secrets;
use crate::store::{App, AppId, Resource, Script, ScriptId, Store, TriggerDetail};

pub use instance::About;
pub use sample::create_sample;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct ControlPlane {
    /// Where everything is kept.
    pub store: Store,
    /// Parses sources.
    pub executor: Executor,
    /// Seals secrets.
    pub secrets: Secrets,
    /// Times and ids.
    pub clock: Clock,
    /// Recognises callers.
    pub auth: Auth,
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// What no script may ask more of.
    pub ceiling: Limits,
    /// How many events may follow from each other.
    pub depth_max: i64,
    /// Finds the proofs of domains.
    pub resolver: Resolver,
    /// What is known of this process.
    pub about: Arc<About>,
    addressing: Arc<Mutex<()>>,
}

impl ControlPlane {
    /// Puts the parts together.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is another part, and it is called once")]
    pub fn new(
        store: Store,
        executor: Executor,
        secrets: Secrets,
        clock: Clock,
        auth: Auth,
        metrics: Metrics,
        ceiling: Limits,
        depth_max: i64,
        resolver: Resolver,
        about: About,
    ) -> Self {
        let about = Arc::new(about);
        let addressing = Arc::default();
        Self {
            store,
            executor,
            secrets,
            clock,
            auth,
            metrics,
            ceiling,
            depth_max,
            resolver,
            about,
            addressing,
        }
    }

    /// The app of that name, if the caller may do this in it.
    async fn app(&self, caller: &Caller, name: &str, capability: Capability) -> Result<App> {
        let app = self.store.find_app_by_name(name).await?;
        self.auth.allow(caller, &app.id, capability, Resource::App).await?;
        Ok(app)
    }

    /// The script of that id, if the caller may do this in its app.
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

    /// The store for one change that the caller makes: what is written, is written with
    /// its entry in the audit log.
    fn change(&self, caller: &Caller, change: Change) -> Store {
        self.store.on_behalf(caller.entry(&self.clock, change))
    }

    /// The script of that id, if it is the app's.
    async fn script_of(&self, app_id: &AppId, id: &ScriptId) -> Result<Script> {
        let script = self.store.find_script(id).await?;
        if script.app_id == *app_id { Ok(script) } else { Err(Error::not_found(Resource::Script)) }
    }

    /// Has a principal's triggers go on that may: the messages that came to their queues
    /// while they had stopped are theirs.
    async fn resume_triggers_of(&self, principal: &Principal) -> Result<()> {
        for trigger in self.store.list_triggers_of(&principal.to_string()).await? {
            let is_queue = matches!(trigger.detail, TriggerDetail::Queue { .. });
            if is_queue && trigger.disabled_at.is_none() && stop_reason(&trigger).is_none() {
                self.store.hand_over_messages(&trigger.id).await?;
            }
        }
        Ok(())
    }

    /// Held from looking whether an address (an endpoint, a route) is free until it
    /// is taken. An instance has one manager, so that nobody else takes any.
    async fn lock_addresses(&self) -> MutexGuard<'_, ()> {
        self.addressing.lock().await
    }
}

/// Everything that the control plane answers. `data_plane` are the operations of
/// the API that run scripts; their paths start at `/api/v1`, and they are guarded
/// and described like all others.
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

/// The description of everything that [`router`] answers, made from the handlers;
/// `data_plane` is that of the operations that run scripts.
#[must_use]
pub fn describe(data_plane: OpenApi) -> serde_json::Value {
    let api = api().merge(sign_in()).into_openapi();
    openapi::document(api.merge_from(data_plane), probes().into_openapi())
}

/// The admin API; every path starts at `/api/v1`.
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
        .routes(routes!(ingress::get_ingress, ingress::update_ingress))
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
        .routes(routes!(outbound::get_outbound, outbound::put_outbound))
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
}

/// What of the admin API is for whoever is not known yet.
fn sign_in() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::default()
        .routes(routes!(sessions::sign_in))
        .routes(routes!(sessions::get_sign_in_options))
        .routes(routes!(oidc::start_oidc))
        .routes(routes!(oidc::finish_oidc))
        .routes(routes!(invitations::get_invitation))
        .routes(routes!(invitations::accept_invitation))
}

/// What a supervisor asks.
fn probes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::default()
        .routes(routes!(health::get_live))
        .routes(routes!(health::get_ready))
        .routes(routes!(health::get_metrics))
}

async fn unknown_path() -> Error {
    Error::NotFound(Refusal::new("path_not_found", "nothing answers this path"))
}

async fn wrong_method() -> Error {
    Error::MethodNotAllowed
}
