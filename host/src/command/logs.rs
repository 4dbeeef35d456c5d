//! `picloud logs`: prints and follows executions.

use std::process::ExitCode;
use std::time::Duration;

use picloud::clock::Clock;
use picloud::config::Config;
use picloud::manager::api::{Execution, ExecutionSummary};
use picloud::store::ExecutionStatus;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::client::{Answer, CallError, Client, Page, encode, query};
use super::execution::{log_line, short_error, summary_line};
use super::names;
use super::purge::{Age, Purge};
use super::{Failure, ScriptAddress, Server, print_to_reader};

/// The interval at which new executions are requested.
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

Times are in UTC; the newest execution is printed last. --search and --follow cannot be
combined: a search covers only what is already written.")]
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
    /// Only executions with this status
    #[arg(long, value_parser = names::statuses())]
    status: Option<ExecutionStatus>,
    /// Only executions with this text in the request, response, log or error
    #[arg(long, value_name = "TEXT", conflicts_with = "follow")]
    search: Option<String>,
    /// Only executions that ended within this time: a number with s, m, h, d or w, such as 1h
    #[arg(long, value_name = "AGE")]
    since: Option<Age>,
    /// Continue with new executions
    #[arg(long, short)]
    follow: bool,
    /// The most executions to print
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=200))]
    limit: u8,
    /// Print JSON: a line for each execution, with its log
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Subcommand)]
enum LogsVerb {
    /// Delete executions before their retention ends, and give their disk space back
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
        let filter = query(&[
            ("status", self.status.map(ExecutionStatus::as_str)),
            ("q", self.search.as_deref()),
            ("from", since.as_deref()),
        ]);
        let list = List { client, path, filter, as_json: self.json };
        let after = list.print_newest(limit).await?;
        if self.follow {
            let too_old = "the server's release does not support --follow; upgrade it";
            list.follow(after.ok_or_else(|| Failure::new(too_old))?).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A filtered list of executions on a server.
struct List {
    client: Client,
    path: String,
    filter: String,
    as_json: bool,
}

impl List {
    /// Prints the newest executions, oldest first, and returns the cursor after them.
    async fn print_newest(&self, limit: usize) -> Result<Option<String>, Failure> {
        let (mut executions, mut cursor, mut before) = (Vec::new(), None, None);
        // A page can be short: the server examines only some thousand executions for each.
        loop {
            let rest = limit - executions.len();
            let behind = query(&[("before", before.as_deref())]);
            let path = format!("{}?limit={rest}{}{behind}", self.path, self.filter);
            let page = self.client.list(&path).await?;
            executions.extend(page.items);
            cursor = cursor.or(page.next_after);
            before = page.next_before;
            if executions.len() >= limit || before.is_none() {
                break;
            }
        }
        for execution in executions.into_iter().rev() {
            let full = match full_path(&execution.value) {
                Some(path) => if_found(self.client.get(&path).await)?,
                None => None,
            };
            if print_to_reader(self.lines(&execution, full.as_ref()))?.is_break() {
                break;
            }
        }
        Ok(cursor)
    }

    /// Prints new executions until the command is interrupted or the reader closes the output.
    async fn follow(&self, mut after: String) -> Result<(), Failure> {
        loop {
            let path = format!("{}?after={}&limit=200{}", self.path, encode(&after), self.filter);
            let page = self.get_when_it_answers(&path).await?;
            let page: Page<Answer<ExecutionSummary>> = page.value;
            for execution in page.items {
                let full = match full_path(&execution.value) {
                    Some(path) => if_found(self.get_when_it_answers(&path).await)?,
                    None => None,
                };
                if print_to_reader(self.lines(&execution, full.as_ref()))?.is_break() {
                    return Ok(());
                }
            }
            after = page.next_after.unwrap_or(after);
            if !page.has_more {
                tokio::time::sleep(FOLLOW_EVERY).await;
            }
        }
    }

    /// Gets `path`. Waits for a server that restarts, or whose database is unavailable.
    async fn get_when_it_answers<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Answer<T>, CallError> {
        let mut is_away = false;
        loop {
            let failure = match self.client.get(path).await {
                Err(CallError::Unanswered(failure)) => failure,
                Err(CallError::Refused(refused)) if refused.status.is_server_error() => {
                    refused.into()
                }
                answer => return answer,
            };
            if !is_away {
                eprintln!("warning: {}; waiting for the server", failure.0);
                is_away = true;
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }

    /// Formats an execution. `full` has its log.
    fn lines(&self, execution: &Answer<ExecutionSummary>, full: Option<&Execution>) -> String {
        if self.as_json {
            let log = full.map_or(json!([]), |full| full.log.0.clone());
            return format!("{}\n", execution.json_with("log", log));
        }
        let mut text = summary_line(&execution.value) + "\n";
        if let Some(error) = &execution.value.error {
            text += &(short_error(error) + "\n");
        }
        let log = full.map(Execution::log_lines).unwrap_or_default();
        text.extend(log.iter().map(|line| log_line(line) + "\n"));
        text
    }
}

/// Returns the path of an execution with its log, if it wrote one.
fn full_path(execution: &ExecutionSummary) -> Option<String> {
    (execution.log_lines > 0).then(|| format!("/executions/{}", execution.id))
}

/// Returns the execution; `None` if it was deleted in the meantime.
fn if_found(answer: Result<Answer<Execution>, CallError>) -> Result<Option<Execution>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer.value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
