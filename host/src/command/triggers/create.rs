//! `picloud triggers create`: on what a script runs, and what is done when it fails.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::on_in_words;
use crate::command::client::encode;
use crate::command::detail::{Output, time};
use crate::command::names;
use crate::command::scripts::reach;
use crate::command::{Failure, ScriptAddress, Server};

/// What to run, and when.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("on").required(true))]
#[command(after_help = "In a GLOB, * stands for any characters: 'orders:*', '*.png'.")]
pub(in crate::command) struct Create {
    /// The script to run
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// When a key of such a collection is written or deleted
    #[arg(long, value_name = "GLOB", group = "on")]
    kv: Option<String>,
    /// By a schedule: minute, hour, day of month, month, day of week
    #[arg(long, value_name = "EXPRESSION", group = "on")]
    cron: Option<String>,
    /// For every message of this queue; a queue has one trigger
    #[arg(long, group = "on")]
    queue: Option<String>,
    /// For every message on such a topic
    #[arg(long, value_name = "GLOB", group = "on")]
    topic: Option<String>,
    /// When such a file is written or deleted
    #[arg(long, value_name = "BUCKET[/GLOB]", group = "on")]
    files: Option<String>,
    /// When another event of the app was given up
    #[arg(long, group = "on")]
    dead_letters: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    schedule: Schedule,
    #[command(flatten)]
    given_up: GivenUp,
    #[command(flatten)]
    retry: Retry,
}

/// Which changes count.
#[derive(clap::Args)]
#[command(next_help_heading = "With --kv or --files")]
struct Change {
    /// Only these, with commas between them
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = names::operations(), conflicts_with_all = ["cron", "queue", "topic", "dead_letters"])]
    operations: Vec<String>,
}

/// How a schedule is kept.
#[derive(clap::Args)]
#[command(next_help_heading = "With --cron")]
struct Schedule {
    /// The time zone, like Europe/Berlin [default: UTC]
    #[arg(long, requires = "cron", conflicts_with_all = NO_SCHEDULE)]
    zone: Option<String>,
    /// Firings that were missed: skip them, fire once, or all
    #[arg(long, value_name = "skip|once|all", value_parser = names::misfire(), hide_possible_values = true, requires = "cron", conflicts_with_all = NO_SCHEDULE)]
    misfire: Option<String>,
    /// Whether it fires while an earlier firing is not done
    #[arg(long, value_name = "allow|forbid", value_parser = names::overlap(), hide_possible_values = true, requires = "cron", conflicts_with_all = NO_SCHEDULE)]
    overlap: Option<String>,
    /// A time that a change of the clock leaves out or brings twice
    #[arg(long, value_name = "skip|once|both", value_parser = names::dst(), hide_possible_values = true, requires = "cron", conflicts_with_all = NO_SCHEDULE)]
    dst: Option<String>,
}

const NO_SCHEDULE: [&str; 5] = ["kv", "queue", "topic", "files", "dead_letters"];

/// Which events that were given up.
#[derive(clap::Args)]
#[command(next_help_heading = "With --dead-letters")]
struct GivenUp {
    /// Only events of this kind
    #[arg(long, value_name = "KIND", value_parser = names::kinds(), requires = "dead_letters", conflicts_with_all = NO_DEAD_LETTERS)]
    source_kind: Option<String>,
    /// Only events by the trigger with this id
    #[arg(long, value_name = "ID", requires = "dead_letters", conflicts_with_all = NO_DEAD_LETTERS)]
    source_trigger: Option<String>,
    /// Only events of the script with this id
    #[arg(long, value_name = "ID", requires = "dead_letters", conflicts_with_all = NO_DEAD_LETTERS)]
    source_script: Option<String>,
}

const NO_DEAD_LETTERS: [&str; 5] = ["kv", "cron", "queue", "topic", "files"];

/// What to do when the script fails; what is left out is the server's default.
#[derive(clap::Args)]
#[command(next_help_heading = "When the script fails")]
struct Retry {
    /// Attempts in all, 1 to 1000
    #[arg(long, value_name = "N")]
    attempts: Option<i64>,
    /// How the wait before the next attempt grows
    #[arg(long, value_name = "constant|exponential", value_parser = names::backoffs(), hide_possible_values = true)]
    backoff: Option<String>,
    /// The first wait, in milliseconds
    #[arg(long, value_name = "MS")]
    retry_base_ms: Option<i64>,
    /// The longest wait, in milliseconds
    #[arg(long, value_name = "MS")]
    retry_cap_ms: Option<i64>,
    /// How much of a wait is random, 0 to 1
    #[arg(long, value_name = "SHARE")]
    jitter: Option<f64>,
}

impl Create {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let mut body = self.body();
        let client = self.server.client(config)?;
        body["script_id"] = json!(client.script_id(&self.script).await?);
        let path = format!("/apps/{}/triggers", encode(&self.script.app));
        let trigger = client.call(Method::POST, &path, Some(&body)).await?;
        self.output.print(&trigger, trigger["id"].as_str().unwrap_or_default())?;
        let ScriptAddress { app, script } = self.script;
        eprintln!("{app}/{script} runs on {}", on_in_words(&trigger["on"]));
        if let Some(at) = trigger["next_runs"][0].as_i64() {
            eprintln!("next at {}", time(Some(at)));
        }
        let path = format!("/scripts/{}", trigger["script_id"].as_str().unwrap_or_default());
        let script = client.call(Method::GET, &path, None).await?;
        if script["endpoint_open"] == true {
            eprintln!("{}", reach(&client, &script));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What the API wants to know, but for the script's id. Its words are the server's to check.
    fn body(&self) -> Value {
        let Retry { attempts, backoff, retry_base_ms, retry_cap_ms, jitter } = &self.retry;
        let retry = given([
            ("attempts_max", json!(attempts)),
            ("backoff", json!(backoff)),
            ("base_ms", json!(retry_base_ms)),
            ("cap_ms", json!(retry_cap_ms)),
            ("jitter", json!(jitter)),
        ]);
        given([("on", self.on()), ("retry", retry)])
    }

    fn on(&self) -> Value {
        let operations = match self.change.operations.as_slice() {
            [] => Value::Null,
            operations => json!(operations),
        };
        if let Some(collection) = &self.kv {
            given([
                ("kind", json!("kv")),
                ("collection", json!(collection)),
                ("operations", operations),
            ])
        } else if let Some(expression) = &self.cron {
            let Schedule { zone, misfire, overlap, dst } = &self.schedule;
            given([
                ("kind", json!("cron")),
                ("schedule", json!(expression)),
                ("zone", json!(zone)),
                ("misfire", json!(misfire)),
                ("overlap", json!(overlap)),
                ("dst", json!(dst)),
            ])
        } else if let Some(queue) = &self.queue {
            json!({ "kind": "queue", "queue": queue })
        } else if let Some(topic) = &self.topic {
            json!({ "kind": "pubsub", "topic": topic })
        } else if let Some(files) = &self.files {
            let (bucket, path) = files.split_once('/').unwrap_or((files, "*"));
            given([
                ("kind", json!("files")),
                ("bucket", json!(bucket)),
                ("path", json!(path)),
                ("operations", operations),
            ])
        } else {
            let GivenUp { source_kind, source_trigger, source_script } = &self.given_up;
            given([
                ("kind", json!("dead_letter")),
                ("source_kind", json!(source_kind)),
                ("source_trigger_id", json!(source_trigger)),
                ("source_script_id", json!(source_script)),
            ])
        }
    }
}

/// The members that were given.
fn given<const N: usize>(members: [(&str, Value); N]) -> Value {
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn body(arguments: &[&str]) -> Option<Value> {
        let line = ["create", "demo/work"].iter().chain(arguments);
        Line::try_parse_from(line).ok().map(|line| line.create.body())
    }

    #[test]
    fn every_kind_of_trigger_has_its_options() {
        let table = [
            ("--kv a:*", json!({ "kind": "kv", "collection": "a:*" })),
            (
                "--kv a --operations insert,delete",
                json!({ "kind": "kv", "collection": "a", "operations": ["insert", "delete"] }),
            ),
            ("--cron @hourly", json!({ "kind": "cron", "schedule": "@hourly" })),
            (
                "--cron @daily --zone Asia/Tokyo --misfire all --overlap forbid --dst both",
                json!({
                    "kind": "cron", "schedule": "@daily", "zone": "Asia/Tokyo",
                    "misfire": "all", "overlap": "forbid", "dst": "both",
                }),
            ),
            ("--queue q", json!({ "kind": "queue", "queue": "q" })),
            ("--topic t.*", json!({ "kind": "pubsub", "topic": "t.*" })),
            ("--files b", json!({ "kind": "files", "bucket": "b", "path": "*" })),
            (
                "--files b/x/*.png --operations update",
                json!({ "kind": "files", "bucket": "b", "path": "x/*.png", "operations": ["update"] }),
            ),
            ("--dead-letters", json!({ "kind": "dead_letter" })),
            (
                "--dead-letters --source-kind kv --source-trigger t --source-script s",
                json!({
                    "kind": "dead_letter", "source_kind": "kv",
                    "source_trigger_id": "t", "source_script_id": "s",
                }),
            ),
        ];
        for (arguments, expected) in table {
            let body = body(&arguments.split(' ').collect::<Vec<_>>());
            assert_eq!(body, Some(json!({ "on": expected, "retry": {} })), "{arguments}");
        }
    }

    #[test]
    fn a_trigger_can_have_its_own_way_to_try_again() {
        let line = "--queue q --attempts 3 --backoff constant --retry-base-ms 10 \
                    --retry-cap-ms 20 --jitter 0.5";
        let retry = body(&line.split_whitespace().collect::<Vec<_>>()).unwrap()["retry"].take();
        let expected = json!({
            "attempts_max": 3, "backoff": "constant", "base_ms": 10, "cap_ms": 20, "jitter": 0.5,
        });
        assert_eq!(retry, expected);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for wrong in [
            &[][..],
            &["--queue", "q", "--kv", "a"],
            &["--queue", "q", "--zone", "UTC"],
            &["--kv", "a", "--misfire", "all"],
            &["--queue", "q", "--operations", "insert"],
            &["--cron", "@daily", "--source-kind", "kv"],
        ] {
            assert_eq!(body(wrong), None, "{wrong:?}");
        }
    }
}
