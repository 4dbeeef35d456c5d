//! `picloud logs`.

use std::process::ExitCode;
use std::time::Duration;

use picloud::config::Config;
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, encode};
use super::execution::{log_line, short_error, summary_line};
use super::purge::Purge;
use super::{Failure, ScriptAddress, Server, print};

/// How often it is asked for what is new.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud logs demo/hello
  picloud logs --app demo --follow
  picloud logs purge --older-than 7d

Times are in UTC; the last execution stands last.")]
#[command(group = clap::ArgGroup::new("whose").required(true))]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Logs {
    #[command(subcommand)]
    verb: Option<LogsVerb>,
    /// The script
    #[arg(value_name = "APP/SCRIPT", group = "whose")]
    script: Option<ScriptAddress>,
    /// All scripts of an app
    #[arg(long, group = "whose")]
    app: Option<String>,
    /// Go on with what runs from now on
    #[arg(long, short)]
    follow: bool,
    /// How many executions
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=200))]
    limit: u8,
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Subcommand)]
enum LogsVerb {
    /// Delete old executions before their time, and give their room back to the disk
    Purge(Purge),
}

impl Logs {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        if let Some(LogsVerb::Purge(purge)) = self.verb {
            return purge.run(config).await;
        }
        let client = self.server.client(config)?;
        let list = match (&self.script, &self.app) {
            (Some(script), _) => format!("/scripts/{}/logs", client.script_id(script).await?),
            (None, app) => {
                format!("/apps/{}/executions", encode(app.as_deref().unwrap_or_default()))
            }
        };
        let after = newest(&client, &list, self.limit).await?;
        if self.follow {
            let too_old = "the server is of a release that cannot be followed; upgrade it";
            follow(&client, &list, after.ok_or_else(|| Failure::new(too_old))?).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints what is written from now on, until it is interrupted.
async fn follow(client: &Client, list: &str, mut after: String) -> Result<(), Failure> {
    loop {
        let path = format!("{list}?after={}&limit=200", encode(&after));
        let mut page = client.call(Method::GET, &path, None).await?;
        show(client, &items(&mut page)).await?;
        after = next_after(&page).unwrap_or(after);
        if page["has_more"] != true {
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }
}

/// Prints the newest executions and returns the cursor behind them.
async fn newest(client: &Client, list: &str, limit: u8) -> Result<Option<String>, Failure> {
    let path = format!("{list}?limit={limit}");
    let mut page = client.call(Method::GET, &path, None).await?;
    let mut executions = items(&mut page);
    executions.reverse();
    show(client, &executions).await?;
    Ok(next_after(&page))
}

fn next_after(page: &Value) -> Option<String> {
    page["next_after"].as_str().map(str::to_owned)
}

async fn show(client: &Client, executions: &[Value]) -> Result<(), Failure> {
    for execution in executions {
        let mut text = summary_line(execution) + "\n";
        if !execution["error"].is_null() {
            text += &(short_error(&execution["error"]) + "\n");
        }
        if execution["log_lines"].as_u64() > Some(0) {
            let path = format!("/executions/{}", id(execution).unwrap_or_default());
            let detail = client.call(Method::GET, &path, None).await?;
            for line in detail["log"].as_array().into_iter().flatten() {
                text += &(log_line(line) + "\n");
            }
        }
        print(text)?;
    }
    Ok(())
}

fn items(page: &mut Value) -> Vec<Value> {
    match page["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn id(execution: &Value) -> Option<String> {
    execution["id"].as_str().map(str::to_owned)
}
