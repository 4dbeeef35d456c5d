//! `picloud logs`.

use std::process::ExitCode;
use std::time::Duration;

use picloud::clock::Clock;
use picloud::config::Config;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::client::{Client, Refused, encode};
use super::events::query;
use super::execution::{log_line, short_error, summary_line};
use super::names;
use super::purge::{Age, Purge};
use super::{Failure, ScriptAddress, Server, print_to_reader};

/// How often it is asked for what is new.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud logs demo/hello
  picloud logs --app demo --follow
  picloud logs --app demo --script hello --status error --since 1h
  picloud logs demo/hello --search ada@example.com
  picloud logs --app demo --follow --json | jq .id
  picloud logs purge --older-than 7d

Times are in UTC; the last execution stands last. --search and --follow cannot be
combined: a text is looked for in what is written already.")]
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
    /// Only this script of the app
    #[arg(
        long = "script",
        value_name = "NAME",
        requires = "app",
        conflicts_with = "script",
        id = "script_name"
    )]
    script_name: Option<String>,
    /// Only those with this status
    #[arg(long, value_parser = names::statuses())]
    status: Option<String>,
    /// Only those with this text in the request, the response, the log or the error
    #[arg(long, value_name = "TEXT", conflicts_with = "follow")]
    search: Option<String>,
    /// Only those that ended since then: a number with s, m, h, d or w, such as 1h
    #[arg(long, value_name = "AGE")]
    since: Option<Age>,
    /// Go on with what runs from now on
    #[arg(long, short)]
    follow: bool,
    /// How many executions
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=200))]
    limit: u8,
    /// As JSON: a line for each execution, with its log
    #[arg(long)]
    json: bool,
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
        let limit = usize::from(self.limit);
        let client = self.server.client(config)?;
        let script = self
            .script
            .or_else(|| Some(ScriptAddress { app: self.app.clone()?, script: self.script_name? }));
        let path = match (&script, &self.app) {
            (Some(script), _) => format!("/scripts/{}/logs", client.script_id(script).await?),
            (None, app) => {
                format!("/apps/{}/executions", encode(app.as_deref().unwrap_or_default()))
            }
        };
        let since = self.since.map(|Age(seconds)| {
            (Clock::system().now_us() - i64::from(seconds) * 1_000_000).to_string()
        });
        let filter = query(&[("status", self.status), ("q", self.search), ("from", since)]);
        let list = List { client, path, filter, as_json: self.json };
        let after = list.print_newest(limit).await?;
        if self.follow {
            let too_old = "the server is of a release that cannot be followed; upgrade it";
            list.follow(after.ok_or_else(|| Failure::new(too_old))?).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Some executions of a server.
struct List {
    client: Client,
    path: String,
    filter: String,
    as_json: bool,
}

impl List {
    /// Prints the newest executions, the last of them last, and returns the cursor behind them.
    async fn print_newest(&self, limit: usize) -> Result<Option<String>, Failure> {
        let (mut executions, mut cursor, mut before) = (Vec::new(), None, None);
        // A page can have fewer than fit: the server looks at some thousands for each.
        loop {
            let rest = limit - executions.len();
            let behind = query(&[("before", before)]);
            let path = format!("{}?limit={rest}{}{behind}", self.path, self.filter);
            let mut page = self.client.call(Method::GET, &path, None).await?;
            executions.extend(items(&mut page));
            cursor = cursor.or_else(|| text(&page, "next_after"));
            before = text(&page, "next_before");
            if executions.len() >= limit || before.is_none() {
                break;
            }
        }
        for execution in executions.into_iter().rev() {
            let log = match log_path(&execution) {
                Some(path) => log_of(self.client.try_call(Method::GET, &path, None).await?)?,
                None => Vec::new(),
            };
            if print_to_reader(self.lines(execution, log))?.is_break() {
                break;
            }
        }
        Ok(cursor)
    }

    /// Prints what is written from now on, until it is interrupted or nobody reads any more.
    async fn follow(&self, mut after: String) -> Result<(), Failure> {
        loop {
            let path = format!("{}?after={}&limit=200{}", self.path, encode(&after), self.filter);
            let mut page = self.get_when_it_answers(&path).await??;
            for execution in items(&mut page) {
                let log = match log_path(&execution) {
                    Some(path) => log_of(self.get_when_it_answers(&path).await?)?,
                    None => Vec::new(),
                };
                if print_to_reader(self.lines(execution, log))?.is_break() {
                    return Ok(());
                }
            }
            after = text(&page, "next_after").unwrap_or(after);
            if page["has_more"] != true {
                tokio::time::sleep(FOLLOW_EVERY).await;
            }
        }
    }

    /// What is at `path`. A server that restarts, or whose database is away, is waited for.
    async fn get_when_it_answers(&self, path: &str) -> Result<Result<Value, Refused>, Failure> {
        let mut is_away = false;
        loop {
            let failure = match self.client.try_call(Method::GET, path, None).await {
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

    /// What is printed of an execution.
    fn lines(&self, mut execution: Value, log: Vec<Value>) -> String {
        if self.as_json {
            execution["log"] = Value::Array(log);
            return format!("{execution}\n");
        }
        let mut text = summary_line(&execution) + "\n";
        if !execution["error"].is_null() {
            text += &(short_error(&execution["error"]) + "\n");
        }
        text.extend(log.iter().map(|line| log_line(line) + "\n"));
        text
    }
}

fn text(page: &Value, member: &str) -> Option<String> {
    page[member].as_str().map(str::to_owned)
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

fn items(page: &mut Value) -> Vec<Value> {
    match page["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}
