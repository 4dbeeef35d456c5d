//! The command line.
//!
//! Invariant: what a command was asked for goes to standard output, everything
//! about it to standard error; the exit code is 0 if it was done, 1 if it was
//! refused or failed, 2 if the command line or a setting makes no sense.

mod apps;
mod backup;
mod client;
mod consent;
mod data;
mod dead_letters;
mod deploy;
mod detail;
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
mod owner_key;
mod purge;
mod routes;
mod scripts;
mod secrets;
mod settings;
mod terminal;
#[cfg(test)]
mod tests;
mod triggers;
mod users;

use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use picloud::auth::OwnerKey;
use picloud::clock::Clock;
use picloud::config::{Config, Loaded};
use picloud::telemetry;

use client::Client;

/// The exit code for a command line or a setting that makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  picloud serve --sample              start the server, with an app to look at
  curl http://127.0.0.1:8080/x/sample/hello

  export PICLOUD_OWNER_KEY=pco_...    the key that the first start has printed
  picloud deploy hello.rhai --app demo
  picloud invoke demo/hello --data '{\"name\": \"Ada\"}'
  picloud logs demo/hello --follow
  picloud events send demo --queue mails --data '{\"to\": \"ada@example.com\"}'
  picloud dead-letters list demo      what was given up, and why

Settings come from PICLOUD_* environment variables. `picloud config` prints those of the server.";

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
        /// Make an app `sample` with a script `hello`, if there is none
        #[arg(long)]
        sample: bool,
        /// Use this data folder with this database, although they belong to two instances
        #[arg(long)]
        adopt_data_folder: bool,
    },
    /// Upload a script and print the URL at which it answers
    Deploy(deploy::Deploy),
    /// Run a script once and print what it answers
    Invoke(invoke::Invoke),
    /// Print what ran lately, or what runs from now on
    Logs(logs::Logs),
    /// A run with everything that is known of it
    #[command(subcommand)]
    Executions(executions::ExecutionsCommand),
    /// The spaces in which scripts live: list, make, rename, delete
    #[command(subcommand)]
    Apps(apps::AppsCommand),
    /// Where scripts answer, who is let in, and how often
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// The scripts of an app, and whether anybody can call them
    #[command(subcommand)]
    Scripts(scripts::ScriptsCommand),
    /// Run an older version of a script again
    Rollback(scripts::Rollback),
    /// Host names of an app: claim, prove, approve, release
    #[command(subcommand)]
    Domains(domains::DomainsCommand),
    /// What makes a script run besides a request: messages, schedules, changes
    #[command(subcommand)]
    Triggers(triggers::TriggersCommand),
    /// Send messages, see what waits to be carried out, and cancel it
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Events whose script failed too often: look, replay, resolve
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// The keys of an app's collections: list, get, set, delete
    #[command(subcommand)]
    Kv(kv::KvCommand),
    /// The files of an app's buckets: list, get, put, delete
    #[command(subcommand)]
    Files(files::FilesCommand),
    /// The private hosts that an app's scripts can call
    #[command(subcommand)]
    Outbound(outbound::OutboundCommand),
    /// Who may do what in an app
    #[command(subcommand)]
    Members(members::MembersCommand),
    /// Keys for programs: make, list, revoke
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// The people who sign in, and what they may do
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// What an app's scripts know and nobody sees
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Print every setting of the server with its value, its default and its unit
    Config(settings::Settings),
    /// Copy all that is kept into a new folder, also while the server works
    ///
    /// It works on the data itself, so it has to run where PICLOUD_DATA and
    /// PICLOUD_DATABASE_URL lead to the server's. PostgreSQL is dumped by pg_dump.
    Backup(backup::Backup),
    /// Fill an empty data folder and database from a backup
    ///
    /// The folder of PICLOUD_DATA and the database of PICLOUD_DATABASE_URL are filled,
    /// and refused if they hold anything. PostgreSQL is filled by pg_restore.
    Restore(backup::Restore),
    /// Write the SQLite database anew, without the room of deleted rows
    ///
    /// It works in the database, and no server may use that. It needs as much room as the
    /// database takes. Databases of release 0.1 give room back to the disk only after this.
    Compact,
    /// Whether the server is ready: exit code 0 if it is, 1 if not
    Health(health::Health),
    /// Compile the interpreter into the data folder; `serve` does it by itself
    #[command(hide = true)]
    CompileGuest,
    /// The key of the admin API
    #[command(subcommand)]
    OwnerKey(owner_key::OwnerKeyCommand),
    /// The key that all secrets are encrypted under
    #[command(subcommand)]
    MasterKey(master_key::MasterKeyCommand),
}

/// How a command finds the server.
#[derive(clap::Args)]
struct Server {
    /// Where the server is [default: PICLOUD_URL, or http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An API key or the owner key [default: PICLOUD_API_KEY, else PICLOUD_OWNER_KEY,
    /// which other users of this machine cannot read]
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

/// A script, as `APP/SCRIPT`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ScriptAddress {
    app: String,
    script: String,
}

impl std::str::FromStr for ScriptAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((app, script)) if !app.is_empty() && !script.is_empty() => {
                Ok(Self { app: app.to_owned(), script: script.to_owned() })
            }
            _ => Err("a script is named APP/SCRIPT, like demo/hello"),
        }
    }
}

/// Why a command was not carried out, in words for a person. It ends the command
/// with exit code 1.
struct Failure(String);

impl Failure {
    fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

impl Command {
    /// Carries the command out.
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

/// Compiling takes some 200 MB for some seconds, which an allocator does not give
/// back: it is done in a process that ends.
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
    // The server does it itself, and says why if it cannot.
    tracing::warn!(failure, "the interpreter could not be compiled in a process of its own");
    Ok(())
}

/// Writes text to standard output, fit for a terminal. A reader who has seen enough is no error.
fn print(text: impl AsRef<str>) -> Result<(), Failure> {
    print_to_reader(text).map(drop)
}

/// [`print`] for what has no end of its own: breaks when nobody reads any more.
fn print_to_reader(text: impl AsRef<str>) -> Result<ControlFlow<()>, Failure> {
    write_out(terminal::visible(text.as_ref()).as_bytes())
}

/// Writes bytes to standard output as they are.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    write_out(bytes).map(drop)
}

fn write_out(bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure(format!("cannot write to standard output: {error}"))),
    }
}
