//! `picloud scripts versions`, `scripts show` and `picloud rollback`: what a script was, and
//! going back to it.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::command::client::Client;
use crate::command::detail::{Output, Paging, print_page, time};
use crate::command::{Failure, ScriptAddress, Server, print, print_bytes};

/// Whose versions.
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

/// Which source.
#[derive(clap::Args)]
pub(in crate::command) struct Show {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// This version [default: the one that runs]
    #[arg(long, value_name = "N")]
    version: Option<i64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// Which script, and which version of it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud rollback demo/hello
  picloud rollback demo/hello --to 3

The version that is gone back to runs again under its number. The next deploy makes a new
version, behind all that there are.")]
pub(in crate::command) struct Rollback {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// This version [default: the one before the version that runs]
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
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(version: &Value) -> String {
    let sha256 = version["source_sha256"].as_str().unwrap_or_default();
    format!(
        "version {} · {} · sha256 {}{}",
        version["version"],
        time(version["created_at"].as_i64()),
        sha256.get(..12).unwrap_or(sha256),
        if version["running"] == true { " · runs" } else { "" },
    )
}

impl Show {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let id = client.script_id(&self.script).await?;
        let path = match self.version {
            Some(version) => format!("/scripts/{id}/versions/{version}"),
            None => format!("/scripts/{id}"),
        };
        let script = client.call(Method::GET, &path, None).await?;
        match self.output.json {
            true => print(format!("{script:#}\n"))?,
            false => print_bytes(script["source"].as_str().unwrap_or_default().as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Rollback {
    pub(in crate::command) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let ScriptAddress { app, script } = &self.script;
        let id = client.script_id(&self.script).await?;
        let version = match self.to {
            Some(version) => version,
            None => version_before(&client, &id).await?.ok_or_else(|| {
                Failure(format!("{app}/{script} has no version before the one that runs"))
            })?,
        };
        let path = format!("/scripts/{id}/rollback");
        let body = json!({ "version": version });
        let now = client.call(Method::POST, &path, Some(&body)).await?;
        if self.output.json {
            print(format!("{now:#}\n"))?;
        }
        eprintln!("{app}/{script} runs version {} now", now["version"]);
        Ok(ExitCode::SUCCESS)
    }
}

/// The newest version of a script that is older than the one that runs.
async fn version_before(client: &Client, id: &str) -> Result<Option<i64>, Failure> {
    let script = client.call(Method::GET, &format!("/scripts/{id}"), None).await?;
    let runs = script["version"].as_i64().unwrap_or_default();
    let mut offset = Some(0);
    while let Some(from) = offset {
        let path = format!("/scripts/{id}/versions?limit=200&offset={from}");
        let page = client.call(Method::GET, &path, None).await?;
        let versions = page["items"].as_array().into_iter().flatten();
        let older = versions.filter_map(|version| version["version"].as_i64());
        if let Some(before) = older.filter(|&version| version < runs).max() {
            return Ok(Some(before));
        }
        offset = page["next_offset"].as_u64();
    }
    Ok(None)
}
