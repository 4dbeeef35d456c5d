//! `picloud scripts versions`, `scripts show` and `picloud rollback`: a script's versions, and the
//! rollback to one of them.

use std::ops::ControlFlow;
use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{
    RollbackScript, Script, ScriptVersion, ScriptVersionWithSource, ScriptWithSource,
};
use serde::Serialize;

use crate::command::client::Client;
use crate::command::output::{Output, Paging, print_page};
use crate::command::time::time;
use crate::command::{Failure, ScriptAddress, Server, print_bytes};

/// The list to print.
#[derive(clap::Args)]
pub(in crate::command) struct Versions {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The source to print.
#[derive(clap::Args)]
pub(in crate::command) struct Show {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// The version [default: the current one]
    #[arg(long, value_name = "N")]
    version: Option<i64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// The script, and the version to roll back to.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud rollback demo/hello
  picloud rollback demo/hello --to 3

The chosen version becomes current again and keeps its number. The next deploy creates a
new version, with a number above all others.")]
pub(in crate::command) struct Rollback {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// The version [default: the one before the current one]
    #[arg(long, value_name = "N")]
    to: Option<i64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Versions {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let id = client.script_id(&self.script).await?;
        let path = format!("/scripts/{id}/versions?limit={}", self.paging.limit);
        print_page(&client.list(&path).await?, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(version: &ScriptVersion) -> String {
    let sha256 = &version.source_sha256;
    format!(
        "version {} · {} · sha256 {}{}",
        version.version,
        time(version.created_at),
        sha256.get(..12).unwrap_or(sha256),
        if version.running { " · current" } else { "" },
    )
}

impl Show {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let id = client.script_id(&self.script).await?;
        if let Some(version) = self.version {
            let path = format!("/scripts/{id}/versions/{version}");
            let version = client.get::<ScriptVersionWithSource>(&path).await?;
            return print_source(&version, &version.value.source, &self.output);
        }
        let script = client.get::<ScriptWithSource>(&format!("/scripts/{id}")).await?;
        print_source(&script, &script.value.source, &self.output)
    }
}

/// Prints a version: as JSON, or its source as it is.
fn print_source(
    version: &impl Serialize,
    source: &str,
    output: &Output,
) -> Result<ExitCode, Failure> {
    output.print_json(version)?;
    if !output.json {
        print_bytes(source.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Rollback {
    pub(in crate::command) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let ScriptAddress { app, script } = &self.script;
        let id = client.script_id(&self.script).await?;
        let version = match self.to {
            Some(version) => version,
            None => version_before(&client, &id).await?.ok_or_else(|| {
                Failure(format!("{app}/{script} has no version before the current one"))
            })?,
        };
        let path = format!("/scripts/{id}/rollback");
        let now = client.post::<Script>(&path, &RollbackScript { version }).await?;
        self.output.print_json(&now)?;
        eprintln!("{app}/{script} now runs version {}", now.value.version);
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the newest version of a script that is older than the current one.
async fn version_before(client: &Client, id: &str) -> Result<Option<i64>, Failure> {
    let current = client.get::<ScriptWithSource>(&format!("/scripts/{id}")).await?;
    let current = current.value.script.version;
    // The newest comes first.
    let path = format!("/scripts/{id}/versions");
    let older = client.visit(&path, |version: ScriptVersion| match version.version {
        version if version < current => ControlFlow::Break(version),
        _ => ControlFlow::Continue(()),
    });
    Ok(older.await?)
}
