//! `picloud executions`: one run with everything that is known of it.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::Value;

use super::client::encode;
use super::detail::{Output, described};
use super::execution::{log_line, short_error};
use super::{Failure, Server, print};

/// What to do with executions.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud executions show 01980000-0000-7000-8000-000000000000

The id is at the end of each line of `picloud logs`, and in the header
x-picloud-execution-id of each answer.")]
pub(super) enum ExecutionsCommand {
    /// Print a run: status, error, log, request, response and what caused it
    Show(Show),
}

impl ExecutionsCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::Show(show) => show.run(config).await,
        }
    }
}

/// Which execution.
#[derive(clap::Args)]
pub(super) struct Show {
    /// The execution's id
    id: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Show {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/executions/{}", encode(&self.id));
        let execution = client.call(Method::GET, &path, None).await?;
        print(match self.output.json {
            true => format!("{execution:#}\n"),
            false => in_full(&execution),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn in_full(execution: &Value) -> String {
    let members = [
        "id",
        "status",
        "script",
        "script_id",
        "app_id",
        "version",
        "trigger",
        "trigger_id",
        "event_id",
        "parent_id",
        "caused_by",
        "attempt",
        "started_at",
        "finished_at",
        "duration_us",
        "fuel_used",
        "memory_peak_bytes",
        "request",
        "response_status",
        "response",
    ];
    let mut text = described(execution, &members);
    let error = &execution["error"];
    if !error.is_null() {
        text += &format!("error\n{}\n", short_error(error));
        for detail in ["limit", "thrown"] {
            if !error[detail].is_null() {
                text += &format!("  {detail}: {}\n", error[detail]);
            }
        }
    }
    let log = execution["log"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !log.is_empty() {
        text += "log\n";
        text.extend(log.iter().map(|line| log_line(line) + "\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_tells_why_it_failed_and_what_it_logged() {
        let execution = json!({
            "id": "7", "status": "error", "event_id": "8", "parent_id": null,
            "error": { "message": "no", "line": 2, "thrown": { "code": 5 } },
            "log": [{ "level": "info", "message": "hi", "line": 1 }],
        });
        let lines = [
            "id                 7",
            "status             error",
            "event_id           8",
            "error",
            "  failed: no (line 2)",
            "  thrown: {\"code\":5}",
            "log",
            "  info  hi (line 1)",
            "",
        ];
        assert_eq!(in_full(&execution), lines.join("\n"));
    }
}
