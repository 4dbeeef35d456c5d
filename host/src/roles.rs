//! The roles of a process: which services it runs, and how they start and stop.
//!
//! [`App::build`] connects the parts, [`serve`] runs them, and [`front`] answers all requests.

pub mod front;
pub mod serve;

use std::sync::Arc;
use std::time::Duration;

use crate::answers::AnswerLog;
use crate::auth::{Auth, FirstPassword, OwnerKey};
use crate::clock::Clock;
use crate::config::Config;
use crate::definitions::Current;
use crate::dns::Resolver;
use crate::executor::{self, Backing, Executor};
use crate::manager::{self, About, ControlPlane};
use crate::metrics::Metrics;
use crate::orchestrator::dispatcher::Dispatcher;
use crate::orchestrator::scheduler::Scheduler;
use crate::orchestrator::{Orchestrator, Parts, execute};
use crate::private_hosts::PrivateHosts;
use crate::retention::sweep::Sweep;
use crate::retention::{OwnHosts, Retention};
use crate::secrets::Secrets;
use crate::serving::BodyBudget;
use crate::store::{self, EventId, Store, TriggerKind};
use crate::{data_folder, instance};

use front::{Front, FrontParts};

/// The reason why the server could not start or had to stop, as a message for the operator.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// The whole server, without a socket.
pub struct App {
    /// Answers the requests.
    pub front: Front,
    /// The database.
    pub store: Store,
    /// Runs scripts.
    pub executor: Executor,
    /// The admin API.
    pub control_plane: ControlPlane,
    /// Deletes old rows; [`serve`] starts it.
    pub retention: Retention,
    /// Delivers events; [`serve`] starts it.
    pub dispatcher: Dispatcher,
    /// Fires schedules; [`serve`] starts it.
    pub scheduler: Scheduler,
    /// The owner key, if it was just generated; printed once.
    pub generated_key: Option<OwnerKey>,
    /// The password of the user `admin`, if both were just created; printed once.
    pub first_password: Option<FirstPassword>,
    /// Locks the SQLite database against other servers while it is held.
    pub lock: Option<std::fs::File>,
}

impl App {
    /// Opens the data folder and the database, loads the interpreter and connects the parts.
    ///
    /// # Errors
    /// Fails if one of them cannot be used.
    pub async fn build(config: &Config, clock: Clock) -> Result<Self, StartError> {
        data_folder::prepare(&config.data)?;
        let node = clock.new_id().to_string();
        let database = config.database_url()?.of_node(&node, env!("CARGO_PKG_VERSION"));
        let database = database.with_reserve(config.disk_reserve_bytes);
        store::make_room_to_start(&database)?;
        let pair = instance::check(&database, &config.data, config.adopt_data_folder).await?;
        let lock = database.file().map(|file| data_folder::lock(&file)).transpose()?;
        let settings = store::Settings {
            readers: config.readers,
            storage_max: config.storage_max,
            entry_cache_bytes: config.entry_cache_bytes,
            log_flush_interval: Duration::from_millis(config.execution_log_flush_ms),
        };
        let store = Store::open_with(&database, settings).await?;
        store.heal_clock().await?;
        if let Some(time) = *store.watch_time().borrow() {
            clock.follow(time.at, time.us);
        }
        let own_hosts = OwnHosts { node: node.clone(), hosts: config.own_hosts() };
        own_hosts.reserve(&store, clock.now_us()).await?;
        let owner_key = config.owner_key.as_ref();
        let started = Auth::start(&store, &clock, owner_key, config.auth()?).await?;
        let settings = executor_settings(config);
        let secrets = Secrets::start(&store, &clock, &config.key_settings()).await?;
        let backing = Backing { store: store.read_only(), secrets: secrets.clone() };
        let executor = Executor::start(&settings, clock.clone(), Some(backing))?;
        // Late, so that a start that fails earlier stores no instance id.
        pair.join(&store, clock.new_id().to_string(), clock.now_us(), &config.data).await?;
        let metrics = Metrics::default();
        metrics.start_kinds(TriggerKind::ALL.iter().map(|kind| kind.as_str()));
        let bodies = BodyBudget::new(config.body_budget_bytes, &metrics);
        let answer_log = AnswerLog {
            clock: clock.clone(),
            auth: started.auth.clone(),
            logs_access: config.access_log,
        };
        let definitions = Arc::new(Current::new(store.clone(), metrics.clone()));
        let request_bytes_max = usize::try_from(config.request_bytes_max)?;
        let orchestrator = Orchestrator::new(Parts {
            store: store.clone(),
            definitions: Arc::clone(&definitions),
            executor: executor.clone(),
            secrets: secrets.clone(),
            clock: clock.clone(),
            auth: started.auth.clone(),
            metrics: metrics.clone(),
            ceiling: config.ceiling,
            request_bytes_max,
            form_limits: config.form_limits,
            events: config.events.clone(),
            ingress: config.ingress.clone(),
            node: node.clone(),
            logs_access: config.access_log,
        });
        let waiting = orchestrator.clone();
        let control_plane = ControlPlane {
            store: store.for_admin(),
            definitions,
            executor: executor.clone(),
            secrets,
            clock: clock.clone(),
            auth: started.auth,
            metrics: metrics.clone(),
            ceiling: config.ceiling,
            request_bytes_max,
            depth_max: config.events.depth_max,
            resolver: Resolver::new(config.dns_server),
            about: Arc::new(About::new(config, node, clock.now_us())),
            on_cancelled: Arc::new(move |id: &EventId| waiting.tell_cancelled(id)),
            addressing: Arc::default(),
        };
        let data_plane = execute::api().with_state(orchestrator.clone());
        let front = Front::new(FrontParts {
            log: answer_log,
            metrics,
            bodies,
            orchestrator: orchestrator.clone(),
            platform: manager::router(control_plane.clone(), data_plane),
        });
        Ok(Self {
            front,
            retention: Retention {
                store: store.clone(),
                sweep: executor
                    .blobs()
                    .map(|blobs| Sweep::new(store.clone(), clock.clone(), blobs.clone())),
                clock,
                own_hosts,
                audit_days: config.audit_retention_days,
                execution_log_days: config.execution_log_retention_days,
                execution_log_bytes_max: config.execution_log_bytes_max,
                dead_letter_days: config.dead_letter_retention_days,
                abandoned_execution_days: config.abandoned_executions_retention_days,
            },
            dispatcher: Dispatcher::new(orchestrator.clone()),
            scheduler: Scheduler::new(orchestrator),
            store,
            executor,
            control_plane,
            generated_key: started.generated,
            first_password: started.first_password,
            lock,
        })
    }
}

/// Whether the data folder has the interpreter compiled for this machine. Creates the folder if it
/// is missing.
///
/// # Errors
/// Fails if the folder cannot be used, or if wasmtime does not support the machine.
pub fn has_compiled_guest(config: &Config) -> Result<bool, StartError> {
    data_folder::prepare(&config.data)?;
    Ok(Executor::has_compiled_guest(&executor_settings(config))?)
}

/// Compiles the interpreter into the data folder.
///
/// # Errors
/// Fails if the folder cannot be written, or if wasmtime does not support the machine.
pub fn compile_guest(config: &Config) -> Result<(), StartError> {
    data_folder::prepare(&config.data)?;
    Ok(Executor::compile_guest(&executor_settings(config))?)
}

fn executor_settings(config: &Config) -> executor::Settings {
    executor::Settings {
        data: config.data.clone(),
        slots: config.concurrency_max,
        queue_timeout: Duration::from_millis(config.queue_timeout_ms),
        queue_max: config.queue_max,
        memory_bytes_ceiling: config.ceiling.memory_bytes_max,
        image_cache_bytes_max: config.image_cache_bytes_max,
        private_hosts: PrivateHosts::new(config.private_hosts.clone()),
    }
}
