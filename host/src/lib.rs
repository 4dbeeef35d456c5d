//! PiCloud's host: the server and everything stateful.
//!
//! ```text
//! manager       control plane: the admin API
//! orchestrator  ingress, and what brings work to the executor
//! executor      every run in its own sandbox
//! store         all SQL; the cellar under the three
//! serving       connections, in front of all
//! ```
//!
//! [`App::build`] is the one seam for tests: the whole server but its socket.

pub mod answers;
pub mod auth;
pub mod backup;
pub mod blobs;
pub mod clock;
pub mod config;
pub mod cron;
pub mod data_folder;
pub mod definitions;
pub mod dns;
pub mod error;
pub mod events;
pub mod executor;
pub mod faults;
pub mod hostname;
pub mod instance;
pub mod json;
pub mod limits;
pub mod manager;
pub mod metrics;
pub mod orchestrator;
pub mod private_hosts;
pub mod requests;
pub mod secrets;
pub mod serving;
pub mod shares;
pub mod store;
pub mod telemetry;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state, map_response_with_state};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;

use answers::AnswerLog;
use auth::{Auth, FirstPassword, OwnerKey};
use clock::Clock;
use config::Config;
use dns::Resolver;
use executor::{Backing, Executor};
use manager::{About, ControlPlane};
use metrics::Metrics;
use orchestrator::dispatcher::Dispatcher;
use orchestrator::ingress;
use orchestrator::remains::Remains;
use orchestrator::retention::{OwnHosts, Retention};
use orchestrator::scheduler::Scheduler;
use orchestrator::sweep::Sweep;
use orchestrator::{Orchestrator, Parts};
use private_hosts::PrivateHosts;
use secrets::Secrets;
use serving::BodyBudget;
use store::{DatabaseTime, Store, TriggerKind};

/// How long a server that was told to stop waits for the requests under way.
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

/// The wait before a database server that does not answer is tried again, doubled up to the
/// maximum.
const DATABASE_WAIT_MIN: Duration = Duration::from_millis(500);
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(15);

/// Why the server could not start or had to stop, in words for its owner.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// The database failed while the server started.
#[derive(Debug, thiserror::Error)]
#[error("the database {database}: {}", .of_file.as_ref().unwrap_or(&.error.to_string()))]
struct Unopened {
    /// Where it is, without a password.
    database: String,
    error: store::Error,
    /// Why its file cannot be used, where the system says that better than the database.
    of_file: Option<String>,
}

/// The whole server, without a socket.
pub struct App {
    /// Answers requests.
    pub router: Router,
    /// The database.
    pub store: Store,
    /// What runs scripts.
    pub executor: Executor,
    /// What changes definitions.
    pub control_plane: ControlPlane,
    /// What deletes old rows; [`serve`] starts it.
    pub retention: Retention,
    /// What carries out events; [`serve`] starts it.
    pub dispatcher: Dispatcher,
    /// What fires schedules; [`serve`] starts it.
    pub scheduler: Scheduler,
    /// The owner key, if it has just been made: to be printed once.
    pub generated_key: Option<OwnerKey>,
    /// The password of the user `admin`, if both have just been made: to be printed once.
    pub first_password: Option<FirstPassword>,
    /// Keeps other servers from the SQLite database for as long as it is held.
    pub lock: Option<std::fs::File>,
}

impl App {
    /// Opens the data folder and the database, loads the interpreter and connects
    /// the rooms.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub async fn build(config: &Config, clock: Clock) -> Result<Self, StartError> {
        data_folder::prepare(&config.data)?;
        let node = clock.new_id().to_string();
        let database = config.database_url()?.of_node(&node, env!("CARGO_PKG_VERSION"));
        let database = database.with_reserve(config.disk_reserve_bytes);
        store::make_room_to_start(&database)?;
        let pair = instance::check(&database, &config.data, config.adopt_data_folder).await?;
        let lock = database.file().map(|file| data_folder::lock(&file)).transpose()?;
        let settings = store::Settings { readers: config.readers, storage_max: config.storage_max };
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
        let backing = Backing { store: store.clone(), secrets: secrets.clone() };
        let executor = Executor::start(&settings, clock.clone(), Some(backing))?;
        // A start that fails before has joined nothing.
        pair.join(&store, clock.new_id().to_string(), clock.now_us(), &config.data).await?;
        let metrics = Metrics::default();
        metrics.start_kinds(TriggerKind::ALL.iter().map(|kind| kind.as_str()));
        let bodies = BodyBudget::new(config.body_budget_bytes, &metrics);
        let answer_log = AnswerLog {
            clock: clock.clone(),
            auth: started.auth.clone(),
            logs_access: config.access_log,
        };
        let orchestrator = Orchestrator::new(Parts {
            store: store.clone(),
            executor: executor.clone(),
            secrets: secrets.clone(),
            clock: clock.clone(),
            auth: started.auth.clone(),
            metrics: metrics.clone(),
            ceiling: config.ceiling,
            request_bytes_max: usize::try_from(config.request_bytes_max)?,
            form_limits: config.form_limits,
            events: config.events.clone(),
            ingress: config.ingress.clone(),
            node: node.clone(),
            logs_access: config.access_log,
        });
        let control_plane = ControlPlane::new(
            store.for_admin(),
            executor.clone(),
            secrets,
            clock.clone(),
            started.auth,
            metrics.clone(),
            config.ceiling,
            config.events.depth_max,
            Resolver::new(config.dns_server),
            About::new(config, node, clock.now_us()),
        );
        let data_plane = ingress::api().with_state(orchestrator.clone());
        let router = manager::router(control_plane.clone(), data_plane)
            .merge(ingress::router(orchestrator.clone()))
            .layer(from_fn_with_state(orchestrator.clone(), ingress::answer_on_domain))
            .layer(from_fn_with_state(bodies, serving::hold_body))
            .layer(from_fn(serving::check_target))
            .layer(map_response_with_state(metrics, count_answer))
            .layer(from_fn_with_state(answer_log, answers::log_answer));
        Ok(Self {
            router,
            retention: Retention {
                store: store.clone(),
                sweep: executor
                    .blobs()
                    .map(|blobs| Sweep::new(store.clone(), clock.clone(), blobs.clone())),
                clock,
                own_hosts,
                audit_days: config.audit_retention_days,
                execution_log_days: config.execution_log_retention_days,
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

/// Whether the data folder, which is made if it is missing, has the interpreter compiled for
/// this machine.
///
/// # Errors
/// When the folder cannot be used, or wasmtime refuses the machine.
pub fn has_compiled_guest(config: &Config) -> Result<bool, StartError> {
    data_folder::prepare(&config.data)?;
    Ok(Executor::has_compiled_guest(&executor_settings(config))?)
}

/// Compiles the interpreter into the data folder.
///
/// # Errors
/// When the folder cannot be written, or wasmtime refuses the machine.
pub fn compile_guest(config: &Config) -> Result<(), StartError> {
    data_folder::prepare(&config.data)?;
    Ok(Executor::compile_guest(&executor_settings(config))?)
}

/// Serves until the process is told to stop (SIGINT or SIGTERM), then finishes
/// what is under way and commits what was recorded.
///
/// # Errors
/// When the server cannot start.
pub async fn serve(config: &Config, clock: Clock, with_sample: bool) -> Result<(), StartError> {
    #[cfg(debug_assertions)]
    config.crash_at.into_iter().for_each(faults::arm);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    // Before anybody is told that it serves: a signal right after that must find us.
    let mut told_to_stop = Box::pin(signals()?);
    let app = tokio::select! {
        app = build_once_there_is_a_database(config, &clock) => app?,
        () = &mut told_to_stop => return Ok(()),
    };
    if with_sample {
        manager::create_sample(&app.control_plane).await?;
    }
    if !app.store.gives_back_room().await? {
        tracing::info!(
            "the database was made by release 0.1 and keeps the room of deleted rows; \
             `picloud compact` changes that while no server runs"
        );
    }
    announce(&app, listener.local_addr()?);
    let retention = tokio::spawn(app.retention.clone().run());
    let remains = tokio::spawn(Remains { store: app.store.clone() }.run());
    let sweep = app.retention.sweep.clone().map(|sweep| tokio::spawn(sweep.run()));
    let following = tokio::spawn(follow(app.store.watch_time(), clock));
    let (stop, told) = watch::channel(false);
    let dispatcher = tokio::spawn(app.dispatcher.clone().run(told.clone()));
    let scheduler = tokio::spawn(app.scheduler.clone().run(told));
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let server = serving::serve(listener, app.router, config.connections.clone(), async {
        told_to_stop.await;
        tracing::info!("stopping: requests under way are finished");
        let _ = stopping.send(());
    });
    let late = async {
        // Without a signal the server ends by itself, and this never does.
        if stopped.await.is_ok() {
            tokio::time::sleep(SHUTDOWN_MAX).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = server => {}
        () = late => tracing::warn!("some requests were not finished in time"),
    }
    retention.abort();
    remains.abort();
    following.abort();
    sweep.inspect(tokio::task::JoinHandle::abort);
    // After the requests: those that wait for an event need it to be carried out.
    let _ = stop.send(true);
    let ended = async { (dispatcher.await, scheduler.await) };
    if tokio::time::timeout(SHUTDOWN_MAX, ended).await.is_err() {
        tracing::warn!("some events were not settled in time; they come again");
    }
    if let Err(error) = app.store.note_clock().await {
        error.tell("the time of the stop could not be noted");
    }
    app.store.close().await?;
    drop(app.lock);
    Ok(())
}

/// Builds the server, and again while its database server does not answer: it may start later
/// than we do.
async fn build_once_there_is_a_database(config: &Config, clock: &Clock) -> Result<App, StartError> {
    let is_shared = config.database_url()?.file().is_none();
    let mut wait = DATABASE_WAIT_MIN;
    loop {
        let error = match App::build(config, clock.clone()).await {
            Ok(app) => return Ok(app),
            Err(error) => error,
        };
        let error = match error.downcast::<store::Error>() {
            Ok(error) => {
                let database = config.database_url()?;
                let of_file = database.file().and_then(|file| data_folder::why_unusable(&file));
                Unopened { database: database.to_string(), error: *error, of_file }
            }
            Err(error) => return Err(error),
        };
        let is_away = error.error.is_outage();
        if !is_shared || !is_away {
            return Err(error.into());
        }
        tracing::warn!(%error, "the server starts when its database answers");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(DATABASE_WAIT_MAX);
    }
}

/// What somebody who has just started a server needs to know.
fn announce(app: &App, address: SocketAddr) {
    tracing::info!(%address, guest = &app.executor.guest_sha256()[..12], "ready");
    println!("PiCloud serves on http://{address}");
    if let Some(password) = &app.first_password {
        println!();
        println!("  Sign in with a browser as `admin`, password: {}", password.reveal());
        println!("  It is shown only now; change it there.");
    }
    if let Some(key) = &app.generated_key {
        println!();
        println!("  Owner key: {}", key.reveal());
        println!("  It is shown only now. Keep it, and give it to the command line:");
        println!("  export PICLOUD_OWNER_KEY={}", key.reveal());
        println!();
    }
    println!("Ready.");
}

async fn count_answer(State(metrics): State<Metrics>, answer: Response) -> Response {
    metrics.answered(answer.status().as_u16());
    answer
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

/// Has the clock follow the database's.
async fn follow(mut times: watch::Receiver<Option<DatabaseTime>>, clock: Clock) {
    while times.changed().await.is_ok() {
        if let Some(time) = *times.borrow_and_update() {
            clock.follow(time.at, time.us);
        }
    }
}

/// Takes SIGINT and SIGTERM from now on; what is returned waits for one of them.
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}
