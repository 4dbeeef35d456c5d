//! `picloud logs`.

use std::process::ExitCode;
use std::time::Duration;

use picloud::config::Config;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::client::{Client, Refused, encode};
use super::execution::{log_line, short_error, summary_line};
use super::purge::Purge;
use super::{Failure, ScriptAddress, Server, print_to_reader};

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

/// Prints what is written from now on, until it is interrupted or nobody reads any more.
async fn follow(client: &Client, list: &str, mut after: String) -> Result<(), Failure> {
    loop {
        let path = format!("{list}?after={}&limit=200", encode(&after));
        let mut page = get_when_it_answers(client, &path).await??;
        for execution in items(&mut page) {
            let log = match log_path(&execution) {
                Some(path) => log_of(get_when_it_answers(client, &path).await?)?,
                None => Vec::new(),
            };
            if print_to_reader(lines(&execution, &log))?.is_break() {
                return Ok(());
            }
        }
        after = next_after(&page).unwrap_or(after);
        if page["has_more"] != true {
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }
}

/// What is at `path`. A server that restarts, or whose database is away, is waited for.
async fn get_when_it_answers(
    client: &Client,
    path: &str,
) -> Result<Result<Value, Refused>, Failure> {
    let mut is_away = false;
    loop {
        let failure = match client.try_call(Method::GET, path, None).await {
            Ok(Err(refused)) if refused.status.is_server_error() => Failure::from(refused),
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        if !is_away {
            eprintln!("warning: {}; waiting for the server", failure.0);
            is_away = true;
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

/// Prints the newest executions and returns the cursor behind them.
async fn newest(client: &Client, list: &str, limit: u8) -> Result<Option<String>, Failure> {
    let path = format!("{list}?limit={limit}");
    let mut page = client.call(Method::GET, &path, None).await?;
    let mut executions = items(&mut page);
    executions.reverse();
    for execution in executions {
        let log = match log_path(&execution) {
            Some(path) => log_of(client.try_call(Method::GET, &path, None).await?)?,
            None => Vec::new(),
        };
        if print_to_reader(lines(&execution, &log))?.is_break() {
            break;
        }
    }
    Ok(next_after(&page))
}

fn next_after(page: &Value) -> Option<String> {
    page["next_after"].as_str().map(str::to_owned)
}

/// Where the log of an execution is, if it wrote one.
fn log_path(execution: &Value) -> Option<String> {
    let id = execution["id"].as_str()?;
    (execution["log_lines"].as_u64() > Some(0)).then(|| format!("/executions/{id}"))
}

/// The log in an answer: none if the execution was deleted since it was listed.
fn log_of(answer: Result<Value, Refused>) -> Result<Vec<Value>, Failure> {
    match answer {
        Ok(mut execution) => match execution["log"].take() {
            Value::Array(log) => Ok(log),
            _ => Ok(Vec::new()),
        },
        Err(refused) if refused.status == StatusCode::NOT_FOUND => Ok(Vec::new()),
        Err(refused) => Err(refused.into()),
    }
}

/// What is printed of an execution.
fn lines(execution: &Value, log: &[Value]) -> String {
    let mut text = summary_line(execution) + "\n";
    if !execution["error"].is_null() {
        text += &(short_error(&execution["error"]) + "\n");
    }
    for line in log {
        text += &(log_line(line) + "\n");
    }
    text
}

fn items(page: &mut Value) -> Vec<Value> {
    match page["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}
