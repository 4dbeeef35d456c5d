//! `picloud executions`: shows a run in full.

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::Execution;

use super::client::encode;
use super::execution::{log_line, short_error};
use super::output::{Output, print_one};
use super::rows::Rows;
use super::{Failure, Server};

/// Commands for executions.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud executions show 01980000-0000-7000-8000-000000000000

The id is at the end of each line of `picloud logs`, and in the header
x-picloud-execution-id of each response.")]
pub(super) enum ExecutionsCommand {
    /// Show a run: status, error, log, request, response and cause
    Show(Show),
}

impl ExecutionsCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::Show(show) => show.run(config).await,
        }
    }
}

/// The execution to show.
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
        let execution = client.get(&format!("/executions/{}", encode(&self.id))).await?;
        print_one(&execution, self.output.json, in_full(&execution.value))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn in_full(execution: &Execution) -> String {
    let mut text = rows(execution).to_string();
    if let Some(error) = &execution.summary.error {
        text += &format!("error\n{}\n", short_error(error));
        let is_shown = |name: &str| matches!(name, "limit" | "thrown");
        for (name, detail) in error.details.iter().filter(|(name, _)| is_shown(name)) {
            text += &format!("  {name}: {}\n", detail.0);
        }
    }
    let log = execution.log_lines();
    if !log.is_empty() {
        text += "log\n";
        text.extend(log.iter().map(|line| log_line(line) + "\n"));
    }
    text
}

fn rows(Execution { summary, app_id, request, response, .. }: &Execution) -> Rows {
    Rows::default()
        .text("id", &summary.id)
        .text("status", &summary.status)
        .text("script", &summary.script)
        .text("script_id", &summary.script_id)
        .text("app_id", app_id)
        .text("version", summary.version)
        .text("trigger", &summary.trigger)
        .maybe("trigger_id", summary.trigger_id.as_ref())
        .maybe("event_id", summary.event_id.as_ref())
        .maybe("parent_id", summary.parent_id.as_ref())
        .maybe("caused_by", summary.caused_by.as_ref())
        .text("attempt", summary.attempt)
        .time("started_at", summary.started_at)
        .time("finished_at", summary.finished_at)
        .text("duration_us", summary.duration_us)
        .text("fuel_used", summary.fuel_used)
        .text("memory_peak_bytes", summary.memory_peak_bytes)
        .any("request", request)
        .maybe("response_status", summary.response_status)
        .json("response", response)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::tests::read;

    #[test]
    fn a_run_tells_why_it_failed_and_what_it_logged() {
        let execution = json!({
            "id": "7", "status": "error", "event_id": "8", "parent_id": null, "trigger_id": null,
            "script": "hello", "script_id": "9", "app_id": "5", "version": 3, "trigger": "queue",
            "caused_by": null, "attempt": 1, "started_at": 0, "finished_at": 1000,
            "duration_us": 1000, "fuel_used": 42, "memory_peak_bytes": 65536, "log_lines": 1,
            "method": null, "path": null, "response_status": null, "response": null,
            "request": { "event": [1] },
            "error": { "message": "no", "line": 2, "thrown": { "code": 5 }, "is_final": true },
            "log": [{ "level": "info", "message": "hi", "line": 1 }],
        });
        let lines = [
            "id                 7",
            "status             error",
            "script             hello",
            "script_id          9",
            "app_id             5",
            "version            3",
            "trigger            queue",
            "event_id           8",
            "attempt            1",
            "started_at         1970-01-01T00:00:00.000Z",
            "finished_at        1970-01-01T00:00:00.001Z",
            "duration_us        1000",
            "fuel_used          42",
            "memory_peak_bytes  65536",
            "request            {",
            "                     \"event\": [",
            "                       1",
            "                     ]",
            "                   }",
            "error",
            "  failed: no (line 2)",
            "  thrown: {\"code\":5}",
            "log",
            "  info  hi (line 1)",
            "",
        ];
        assert_eq!(in_full(&read(&execution)), lines.join("\n"));
    }
}
