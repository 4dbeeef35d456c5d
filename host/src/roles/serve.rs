//! `picloud serve`: all services in one process, from the first connection to the last commit.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{App, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::retention::remains::Remains;
use crate::store::{self, DatabaseTime};
use crate::{data_folder, manager, serving};

/// The time that a stopping server waits for requests in progress.
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

/// The wait before connecting again to an unavailable database server, doubled up to the maximum.
const DATABASE_WAIT_MIN: Duration = Duration::from_millis(500);
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(15);

/// The database failed while the server started.
#[derive(Debug, thiserror::Error)]
#[error("the database {database}: {}", .of_file.as_ref().unwrap_or(&.error.to_string()))]
struct Unopened {
    /// The database's address, without a password.
    database: String,
    error: store::Error,
    /// The system's reason why the file cannot be used, if it is better than the database's.
    of_file: Option<String>,
}

/// Serves until the process gets SIGINT or SIGTERM. Then finishes the requests in progress and
/// commits recorded rows.
///
/// # Errors
/// Fails if the server cannot start.
pub async fn serve(config: &Config, clock: Clock, with_sample: bool) -> Result<(), StartError> {
    #[cfg(debug_assertions)]
    config.crash_at.into_iter().for_each(crate::faults::arm);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    // Before the server announces itself, so that a signal right after that is not missed.
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
            "the database was created by release 0.1 and does not return the space of deleted \
             rows to the disk; stop the server and run `picloud compact` once"
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
    let server = serving::serve(listener, app.front, config.connections.clone(), async {
        told_to_stop.await;
        tracing::info!("stopping: finishing the requests in progress");
        let _ = stopping.send(());
    });
    let late = async {
        // Without a signal the server ends by itself, and this future never completes.
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
    // After the requests: those that wait for an event need the dispatcher.
    let _ = stop.send(true);
    let ended = async { (dispatcher.await, scheduler.await) };
    if tokio::time::timeout(SHUTDOWN_MAX, ended).await.is_err() {
        tracing::warn!("some events were not settled in time and will be delivered again");
    }
    if let Err(error) = app.store.note_clock().await {
        error.tell("the time of the stop could not be stored");
    }
    app.store.close().await?;
    drop(app.lock);
    Ok(())
}

/// Builds the server. Tries again while the database server is unavailable, because that can start
/// later.
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
        tracing::warn!(%error, "waiting for the database before starting");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(DATABASE_WAIT_MAX);
    }
}

/// Prints the information that an operator needs after the start.
fn announce(app: &App, address: SocketAddr) {
    tracing::info!(%address, guest = &app.executor.guest_sha256()[..12], "ready");
    println!("PiCloud serves on http://{address}");
    if let Some(password) = &app.first_password {
        println!();
        println!("  Sign in with a browser as `admin`, password: {}", password.reveal());
        println!("  It is shown only once; change it after signing in.");
    }
    if let Some(key) = &app.generated_key {
        println!();
        println!("  Owner key: {}", key.reveal());
        println!("  It is shown only once. Store it, and set it for the command line:");
        println!("  export PICLOUD_OWNER_KEY={}", key.reveal());
        println!();
    }
    println!("Ready.");
}

/// Makes the clock follow the database's clock.
async fn follow(mut times: watch::Receiver<Option<DatabaseTime>>, clock: Clock) {
    while times.changed().await.is_ok() {
        if let Some(time) = *times.borrow_and_update() {
            clock.follow(time.at, time.us);
        }
    }
}

/// Handles SIGINT and SIGTERM from now on. The returned future waits for one of them.
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
