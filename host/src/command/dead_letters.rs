//! `picloud dead-letters`: events whose attempts all failed.

mod bulk;

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{DeadLetter, ReplayDeadLetter, ReplayedDeadLetter};
use picloud::store::TriggerKind;

use super::client::{encode, query};
use super::data::read_json;
use super::names;
use super::output::{Paging, print_one, print_page};
use super::rows::Rows;
use super::time::time;
use super::{Failure, Server};

use bulk::Which;

/// Commands for dead letters.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud dead-letters list demo
  picloud dead-letters show 01980000-0000-7000-8000-000000000000
  picloud dead-letters replay 01980000-0000-7000-8000-000000000000
  picloud dead-letters replay --app demo --all --script mailer
  picloud dead-letters resolve --app demo --all --kind queue

An event becomes a dead letter when its script has failed too often. It is kept, with the
last error, until it is replayed or resolved.")]
pub(super) enum DeadLettersCommand {
    /// List unresolved dead letters
    List(List),
    /// Show a dead letter with its event and its last error
    Show(Show),
    /// Run the events of dead letters again, each as a new event
    Replay(Replay),
    /// Mark dead letters as ignored
    Resolve(Resolve),
}

impl DeadLettersCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Show(show) => show.run(config).await,
            Self::Replay(replay) => replay.run(config).await,
            Self::Resolve(resolve) => resolve.run(config).await,
        }
    }
}

/// Filters for the list.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    /// Include replayed, ignored and handled dead letters
    #[arg(long)]
    all: bool,
    /// Only events of this kind
    #[arg(long, value_parser = names::kinds())]
    kind: Option<TriggerKind>,
    /// Only events of the script with this name
    #[arg(long, value_name = "NAME")]
    script: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The dead letter to show.
#[derive(clap::Args)]
pub(super) struct Show {
    /// The dead letter's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// The dead letters to replay.
#[derive(clap::Args)]
#[command(override_usage = "\
picloud dead-letters replay [OPTIONS] <ID>
       picloud dead-letters replay [OPTIONS] --app <APP> --all")]
pub(super) struct Replay {
    #[command(flatten)]
    which: Which,
    /// Run the version that failed instead of the current one
    #[arg(long)]
    same_version: bool,
    /// A payload that replaces the event's, in the form that `show` prints: a text, @FILE, or -
    #[arg(long, value_name = "JSON", conflicts_with = "all")]
    data: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// The dead letters to ignore.
#[derive(clap::Args)]
#[command(override_usage = "\
picloud dead-letters resolve [OPTIONS] <ID>
       picloud dead-letters resolve [OPTIONS] --app <APP> --all")]
pub(super) struct Resolve {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    server: Server,
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let script_id = client.script_id_in(&self.app, self.script).await?;
        let filter = query(&[
            ("kind", self.kind.map(TriggerKind::as_str)),
            ("script_id", script_id.as_deref()),
        ]);
        let path = format!(
            "/apps/{}/dead-letters?limit={}&unresolved={}{filter}",
            encode(&self.app),
            self.paging.limit,
            !self.all,
        );
        print_page(&client.list(&path).await?, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(letter: &DeadLetter) -> String {
    let resolution = letter.resolution.as_ref().map(ToString::to_string);
    format!(
        "{} {:<10} {} {} → {} v{} · {} attempts · {}\n  failed: {}",
        time(letter.created_at),
        resolution.as_deref().unwrap_or("unresolved"),
        letter.kind,
        letter.source,
        letter.script,
        letter.script_version,
        letter.attempts,
        letter.id,
        letter.last_error,
    )
}

impl Show {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let letter = client.get(&format!("/dead-letters/{}", encode(&self.id))).await?;
        print_one(&letter, self.json, rows(&letter.value))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(letter: &DeadLetter) -> Rows {
    Rows::default()
        .text("id", &letter.id)
        .text("kind", &letter.kind)
        .text("operation", &letter.operation)
        .text("source", &letter.source)
        .any("payload", &letter.payload)
        .text("script", &letter.script)
        .text("script_version", letter.script_version)
        .text("last_error", &letter.last_error)
        .text("attempts", letter.attempts)
        .time("first_attempt_at", letter.first_attempt_at)
        .time("last_attempt_at", letter.last_attempt_at)
        .maybe("resolution", letter.resolution.as_ref())
        .time("resolved_at", letter.resolved_at)
        .text("event_id", &letter.event_id)
        .maybe("trigger_id", letter.trigger_id.as_ref())
        .time("event_created_at", letter.event_created_at)
        .time("created_at", letter.created_at)
}

impl Replay {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let same_version = self.same_version;
        let Some(id) = &self.which.id else {
            return self.which.in_bulk(&client, "replay", same_version, "replayed").await;
        };
        let payload = self.data.as_deref().map(read_json).transpose()?;
        let path = format!("/dead-letters/{}/replay", encode(id));
        let replay = ReplayDeadLetter { same_version, payload };
        let replayed = client.post::<ReplayedDeadLetter>(&path, &replay).await?;
        self.which.output.print(&replayed, &replayed.value.event_id)?;
        eprintln!("replayed as this new event");
        Ok(ExitCode::SUCCESS)
    }
}

impl Resolve {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let Some(id) = &self.which.id else {
            return self.which.in_bulk(&client, "resolve", false, "resolved").await;
        };
        let path = format!("/dead-letters/{}/resolve", encode(id));
        let resolved = client.post_empty::<DeadLetter>(&path).await?;
        self.which.output.print_json(&resolved)?;
        eprintln!("resolved: it is now ignored");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::command::tests::read;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: DeadLettersCommand,
    }

    fn is_accepted(line: &str) -> bool {
        Line::try_parse_from(std::iter::once("picloud").chain(line.split(' '))).is_ok()
    }

    #[test]
    fn it_is_one_dead_letter_or_all_of_an_app() {
        for right in [
            "replay 7",
            "replay 7 --same-version --data {}",
            "replay --app demo --all",
            "replay --app demo --all --kind queue --script mailer --same-version",
            "resolve 7",
            "resolve --all --app demo",
        ] {
            assert!(is_accepted(right), "{right}");
        }
        for wrong in [
            "replay",
            "replay --app demo",
            "replay --all",
            "replay 7 --all --app demo",
            "replay 7 --app demo",
            "replay 7 --script mailer",
            "replay --app demo --all --data {}",
            "resolve",
            "resolve --kind queue",
        ] {
            assert!(!is_accepted(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_dead_letter_is_a_line_and_its_error_another() {
        let letter = json!({
            "id": "0198", "kind": "queue", "operation": "send", "source": "mails",
            "script_id": "7", "script": "mailer", "script_version": 2, "attempts": 5,
            "payload": null, "payload_bytes": 4, "payload_is_left_out": false,
            "last_error": "no", "resolution": null, "event_id": "8", "event_created_at": 0,
            "first_attempt_at": 0, "last_attempt_at": 0, "created_at": 0,
        });
        assert_eq!(
            line(&read(&letter)),
            "1970-01-01T00:00:00.000Z unresolved queue mails → mailer v2 · 5 attempts · 0198\n  \
             failed: no"
        );
    }
}
