//! The command line.
//!
//! Invariant: a command writes its result to standard output and messages about it to standard
//! error. The exit code is 0 on success, 1 for a refusal or a failure, 2 for an invalid command
//! line or setting.

mod address;
mod apps;
mod backup;
mod client;
mod consent;
mod data;
mod dead_letters;
mod deploy;
#[cfg(test)]
mod documented;
mod domains;
mod entries;
mod events;
mod excerpt;
mod execution;
mod executions;
mod files;
mod health;
mod invoke;
mod keys;
mod kv;
mod logs;
mod master_key;
mod members;
mod names;
mod outbound;
mod output;
mod owner_key;
mod purge;
mod routes;
mod rows;
mod scripts;
mod secrets;
mod settings;
mod stdout;
mod terminal;
#[cfg(test)]
mod tests;
mod time;
mod triggers;
mod users;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use picloud::auth::OwnerKey;
use picloud::clock::Clock;
use picloud::config::{Config, Loaded};
use picloud::telemetry;

use address::ScriptAddress;
use client::Client;
use stdout::{print, print_bytes, print_to_reader};

/// The exit code for an invalid command line or setting.
pub(crate) const EXIT_USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  picloud serve --sample              start the server, with a sample app
  curl http://127.0.0.1:8080/x/sample/hello

  export PICLOUD_OWNER_KEY=pco_...    the key that the first start prints
  picloud deploy hello.rhai --app demo
  picloud invoke demo/hello --data '{\"name\": \"Ada\"}'
  picloud logs demo/hello --follow
  picloud events send demo --queue mails --data '{\"to\": \"ada@example.com\"}'
  picloud dead-letters list demo      failed events, and why they failed

Settings come from PICLOUD_* environment variables. `picloud config` prints the server's.";

/// A self-hosted serverless platform: upload a Rhai script, get an HTTP endpoint.
#[derive(Parser)]
#[command(name = "picloud", version, after_help = EXAMPLES, subcommand_required = true)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the server
    Serve {
        /// Create an app `sample` with a script `hello`, unless it exists
        #[arg(long)]
        sample: bool,
        /// Use this data folder with this database, even if they belong to different instances
        #[arg(long)]
        adopt_data_folder: bool,
    },
    /// Upload a script and print its URL
    Deploy(deploy::Deploy),
    /// Run a script once and print its response
    Invoke(invoke::Invoke),
    /// Print recent runs, or follow new ones
    Logs(logs::Logs),
    /// Show a run with its error, log, request, response and cause
    #[command(subcommand)]
    Executions(executions::ExecutionsCommand),
    /// List, create, rename and delete apps
    #[command(subcommand)]
    Apps(apps::AppsCommand),
    /// Manage routes: paths, authentication and limits
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// Manage an app's scripts and their endpoints
    #[command(subcommand)]
    Scripts(scripts::ScriptsCommand),
    /// Make an older version of a script current again
    Rollback(scripts::Rollback),
    /// Manage an app's domains: claim, verify, approve, release
    #[command(subcommand)]
    Domains(domains::DomainsCommand),
    /// Manage triggers: run scripts on messages, schedules and changes
    #[command(subcommand)]
    Triggers(triggers::TriggersCommand),
    /// Send messages; list and cancel pending events
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Show, replay and resolve events whose attempts all failed
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// List, read, set and delete keys in an app's collections
    #[command(subcommand)]
    Kv(kv::KvCommand),
    /// List, read, store and delete files in an app's buckets
    #[command(subcommand)]
    Files(files::FilesCommand),
    /// Manage the private hosts that an app's scripts can call
    #[command(subcommand)]
    Outbound(outbound::OutboundCommand),
    /// Manage the members of an app and their roles
    #[command(subcommand)]
    Members(members::MembersCommand),
    /// Create, list and revoke API keys for programs
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Manage users and their roles
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// Set and delete secrets that an app's scripts can read
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Print all settings of the server with value, default and unit
    Config(settings::Settings),
    /// Copy all data into a new folder, even while the server runs
    ///
    /// It reads the data directly, so run it where PICLOUD_DATA and PICLOUD_DATABASE_URL are those
    /// of the server. PostgreSQL is dumped with pg_dump.
    Backup(backup::Backup),
    /// Fill an empty data folder and database from a backup
    ///
    /// It fills the folder of PICLOUD_DATA and the database of PICLOUD_DATABASE_URL, and fails if
    /// they are not empty. PostgreSQL is filled with pg_restore.
    Restore(backup::Restore),
    /// Rewrite the SQLite database to return the space of deleted rows to the disk
    ///
    /// Stop the server first. It needs as much free disk space as the database uses.
    /// Databases of release 0.1 give space back to the disk only after this.
    Compact,
    /// Check whether the server is ready: exit code 0 if it is, 1 if not
    Health(health::Health),
    /// Compile the interpreter into the data folder; `serve` does this itself
    #[command(hide = true)]
    CompileGuest,
    /// Reset the owner key of the admin API
    #[command(subcommand)]
    OwnerKey(owner_key::OwnerKeyCommand),
    /// Rotate the key that encrypts all secrets
    #[command(subcommand)]
    MasterKey(master_key::MasterKeyCommand),
}

/// How a command connects to the server.
#[derive(clap::Args)]
struct Server {
    /// The server's address [default: PICLOUD_URL, or http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An API key or the owner key [default: PICLOUD_API_KEY, else PICLOUD_OWNER_KEY; other users
    /// of this machine can see an option, but not a variable]
    #[arg(long, value_name = "KEY")]
    key: Option<OwnerKey>,
}

impl Server {
    fn client(self, config: Config) -> Result<Client, Failure> {
        let url = match self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => config.url,
        };
        Client::new(url, self.key.or(config.api_key).or(config.owner_key))
    }
}

/// Why a command failed, as a text for people. It ends the command with exit code 1.
struct Failure(String);

impl Failure {
    fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

impl Command {
    /// Runs the command.
    pub(crate) async fn run(self, Loaded { config, warnings }: Loaded) -> ExitCode {
        if !matches!(self.verb, Verb::Serve { .. }) {
            for warning in &warnings {
                eprintln!("warning: {warning}");
            }
        }
        let done = match self.verb {
            Verb::Serve { sample, adopt_data_folder } => {
                serve(Config { adopt_data_folder, ..config }, &warnings, sample).await
            }
            Verb::Deploy(deploy) => deploy.run(config).await,
            Verb::Invoke(invoke) => invoke.run(config).await,
            Verb::Logs(logs) => logs.run(config).await,
            Verb::Executions(command) => command.run(config).await,
            Verb::Apps(command) => command.run(config).await,
            Verb::Routes(command) => command.run(config).await,
            Verb::Scripts(command) => command.run(config).await,
            Verb::Rollback(rollback) => rollback.run(config).await,
            Verb::Domains(command) => command.run(config).await,
            Verb::Triggers(command) => command.run(config).await,
            Verb::Events(command) => command.run(config).await,
            Verb::DeadLetters(command) => command.run(config).await,
            Verb::Kv(command) => command.run(config).await,
            Verb::Files(command) => command.run(config).await,
            Verb::Outbound(command) => command.run(config).await,
            Verb::Members(command) => command.run(config).await,
            Verb::Keys(command) => command.run(config).await,
            Verb::Users(command) => command.run(config).await,
            Verb::Secrets(command) => command.run(config).await,
            Verb::Config(settings) => settings.run(config).await,
            Verb::Backup(backup) => backup.run(&config).await,
            Verb::Restore(restore) => restore.run(&config).await,
            Verb::Compact => purge::compact(&config).await,
            Verb::Health(health) => health.run(&config).await,
            Verb::CompileGuest => compile_guest(&config),
            Verb::OwnerKey(command) => command.run(&config).await,
            Verb::MasterKey(command) => command.run(&config).await,
        };
        match done {
            Ok(code) => code,
            Err(Failure(message)) => {
                eprintln!("error: {}", terminal::visible(&message));
                ExitCode::FAILURE
            }
        }
    }
}

async fn serve(config: Config, warnings: &[String], sample: bool) -> Result<ExitCode, Failure> {
    telemetry::start(&config.logging()).map_err(Failure::new)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    compile_guest_apart(&config).await?;
    picloud::serve(&config, Clock::system(), sample).await.map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}

fn compile_guest(config: &Config) -> Result<ExitCode, Failure> {
    picloud::compile_guest(config).map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}

/// Compiles the interpreter in a separate process. Compiling takes about 200 MB for some seconds,
/// which the allocator would not give back.
async fn compile_guest_apart(config: &Config) -> Result<(), Failure> {
    if picloud::has_compiled_guest(config).map_err(Failure::new)? {
        return Ok(());
    }
    tracing::info!("compiling the interpreter for this machine: once per release, some seconds");
    let this = std::env::current_exe().map_err(Failure::new)?;
    let compiled = tokio::process::Command::new(this).arg("compile-guest").output().await;
    let failure = match compiled {
        Ok(compiled) if compiled.status.success() => return Ok(()),
        Ok(compiled) => String::from_utf8_lossy(&compiled.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    // The server then compiles it itself, and reports its own error.
    tracing::warn!(failure, "compiling the interpreter in a separate process failed");
    Ok(())
}
