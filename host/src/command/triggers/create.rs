//! `picloud triggers create`: the event, the script, and the retry policy.

use std::process::ExitCode;

use picloud::config::Config;
use picloud::cron::{Dst, Misfire, Overlap};
use picloud::manager::api::{CreateTrigger, ScriptWithSource, Trigger, TriggerOn, TriggerRetry};
use picloud::store::{Backoff, Operation, Operations, TriggerKind};

use super::{next_run, on_in_words};
use crate::command::client::encode;
use crate::command::names;
use crate::command::output::Output;
use crate::command::scripts::reach;
use crate::command::time::time;
use crate::command::{Failure, ScriptAddress, Server};

/// The trigger to create.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("on").required(true))]
#[command(after_help = "In a GLOB, * stands for any characters: 'orders:*', '*.png'.")]
pub(in crate::command) struct Create {
    /// The script to run
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// Run when a key in a matching collection is written or deleted
    #[arg(long, value_name = "GLOB", group = "on")]
    kv: Option<String>,
    /// Run on a schedule: minute, hour, day of month, month, day of week
    #[arg(long, value_name = "EXPRESSION", group = "on")]
    cron: Option<String>,
    /// Run for every message in this queue; a queue has at most one trigger
    #[arg(long, group = "on")]
    queue: Option<String>,
    /// Run for every message on a matching topic
    #[arg(long, value_name = "GLOB", group = "on")]
    topic: Option<String>,
    /// Run when a matching file is written or deleted
    #[arg(long, value_name = "BUCKET[/GLOB]", group = "on")]
    files: Option<String>,
    /// Run when another event of the app becomes a dead letter
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

/// The changes to a key or a file that fire the trigger.
#[derive(clap::Args)]
#[command(next_help_heading = "With --kv or --files")]
struct Change {
    /// Only these operations, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = names::operations(), conflicts_with_all = ["cron", "queue", "topic", "dead_letters"])]
    operations: Vec<Operation>,
}

/// The options of a schedule.
#[derive(clap::Args)]
#[command(next_help_heading = "With --cron")]
struct Schedule {
    /// The time zone, like Europe/Berlin [default: UTC]
    #[arg(long, requires = "cron", conflicts_with_all = NO_SCHEDULE)]
    zone: Option<String>,
    /// How to handle missed firings: skip them, fire once, or fire all
    #[arg(long, value_name = "skip|once|all", value_parser = names::misfire(), hide_possible_values = true, requires = "cron", conflicts_with_all = NO_SCHEDULE)]
    misfire: Option<Misfire>,
    /// Whether it fires before an earlier firing has finished
    #[arg(long, value_name = "allow|forbid", value_parser = names::overlap(), hide_possible_values = true, requires = "cron", conflicts_with_all = NO_SCHEDULE)]
    overlap: Option<Overlap>,
    /// How to handle a time that a clock change skips or repeats
    #[arg(long, value_name = "skip|once|both", value_parser = names::dst(), hide_possible_values = true, requires = "cron", conflicts_with_all = NO_SCHEDULE)]
    dst: Option<Dst>,
}

const NO_SCHEDULE: [&str; 5] = ["kv", "queue", "topic", "files", "dead_letters"];

/// Filters for the dead letters.
#[derive(clap::Args)]
#[command(next_help_heading = "With --dead-letters")]
struct GivenUp {
    /// Only events of this kind
    #[arg(long, value_name = "KIND", value_parser = names::kinds(), requires = "dead_letters", conflicts_with_all = NO_DEAD_LETTERS)]
    source_kind: Option<TriggerKind>,
    /// Only events of the trigger with this id
    #[arg(long, value_name = "ID", requires = "dead_letters", conflicts_with_all = NO_DEAD_LETTERS)]
    source_trigger: Option<String>,
    /// Only events of the script with this id
    #[arg(long, value_name = "ID", requires = "dead_letters", conflicts_with_all = NO_DEAD_LETTERS)]
    source_script: Option<String>,
}

const NO_DEAD_LETTERS: [&str; 5] = ["kv", "cron", "queue", "topic", "files"];

/// The retry policy; omitted options get the server's defaults.
#[derive(clap::Args)]
#[command(next_help_heading = "When the script fails")]
struct Retry {
    /// Total number of attempts, 1 to 1000
    #[arg(long, value_name = "N")]
    attempts: Option<i64>,
    /// How the wait between attempts grows
    #[arg(long, value_name = "constant|exponential", value_parser = names::backoffs(), hide_possible_values = true)]
    backoff: Option<Backoff>,
    /// The first wait, in milliseconds
    #[arg(long, value_name = "MS")]
    retry_base_ms: Option<i64>,
    /// The longest wait, in milliseconds
    #[arg(long, value_name = "MS")]
    retry_cap_ms: Option<i64>,
    /// The random part of a wait, 0 to 1
    #[arg(long, value_name = "SHARE")]
    jitter: Option<f64>,
}

impl Create {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let (on, retry) = (self.on(), self.retry.policy());
        let client = self.server.client(config)?;
        let script_id = client.script_id(&self.script).await?;
        let ScriptAddress { app, script } = self.script;
        let path = format!("/apps/{}/triggers", encode(&app));
        let new = CreateTrigger { script_id, on, enabled: None, retry };
        let trigger = client.post::<Trigger>(&path, &new).await?;
        self.output.print(&trigger, &trigger.value.id)?;
        eprintln!("{app}/{script} runs on {}", on_in_words(&trigger.value.on));
        if let Some(at) = next_run(&trigger.value) {
            eprintln!("next at {}", time(at));
        }
        let path = format!("/scripts/{}", trigger.value.script_id);
        let script = client.get::<ScriptWithSource>(&path).await?.value.script;
        if script.endpoint_open {
            eprintln!("{}", reach(&client, &script));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the event. The server validates the values, and sets the defaults of omitted ones.
    fn on(&self) -> TriggerOn {
        // No operation means all operations.
        let operations = Operations::try_from(self.change.operations.clone()).ok();
        if let Some(collection) = self.kv.clone() {
            TriggerOn::Kv { collection, operations }
        } else if let Some(schedule) = self.cron.clone() {
            let Schedule { zone, misfire, overlap, dst } = &self.schedule;
            TriggerOn::Cron {
                schedule,
                zone: zone.clone(),
                dst: *dst,
                misfire: *misfire,
                overlap: *overlap,
            }
        } else if let Some(queue) = self.queue.clone() {
            TriggerOn::Queue { queue }
        } else if let Some(topic) = self.topic.clone() {
            TriggerOn::Pubsub { topic }
        } else if let Some(files) = &self.files {
            let (bucket, path) = files.split_once('/').unwrap_or((files, "*"));
            TriggerOn::Files { bucket: bucket.to_owned(), path: Some(path.to_owned()), operations }
        } else {
            let GivenUp { source_kind, source_trigger, source_script } = &self.given_up;
            TriggerOn::DeadLetter {
                source_kind: *source_kind,
                source_trigger_id: source_trigger.clone(),
                source_script_id: source_script.clone(),
            }
        }
    }
}

impl Retry {
    fn policy(&self) -> TriggerRetry {
        TriggerRetry {
            attempts_max: self.attempts,
            backoff: self.backoff,
            base_ms: self.retry_base_ms,
            cap_ms: self.retry_cap_ms,
            jitter: self.jitter,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{json, to_value};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn create(arguments: &[&str]) -> Option<Create> {
        let line = ["create", "demo/work"].iter().chain(arguments);
        Line::try_parse_from(line).ok().map(|line| line.create)
    }

    #[test]
    fn every_kind_of_trigger_has_its_options() {
        let dead_letter = |kind: Option<&str>, trigger: Option<&str>, script: Option<&str>| {
            json!({
                "kind": "dead_letter", "source_kind": kind,
                "source_trigger_id": trigger, "source_script_id": script,
            })
        };
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
            ("--dead-letters", dead_letter(None, None, None)),
            (
                "--dead-letters --source-kind kv --source-trigger t --source-script s",
                dead_letter(Some("kv"), Some("t"), Some("s")),
            ),
        ];
        for (arguments, expected) in table {
            let create = create(&arguments.split(' ').collect::<Vec<_>>());
            let on = create.and_then(|create| to_value(create.on()).ok());
            assert_eq!(on, Some(expected), "{arguments}");
        }
    }

    #[test]
    fn a_trigger_can_have_its_own_way_to_try_again() {
        let line = "--queue q --attempts 3 --backoff constant --retry-base-ms 10 \
                    --retry-cap-ms 20 --jitter 0.5";
        let create = create(&line.split_whitespace().collect::<Vec<_>>());
        let expected = TriggerRetry {
            attempts_max: Some(3),
            backoff: Some(Backoff::Constant),
            base_ms: Some(10),
            cap_ms: Some(20),
            jitter: Some(0.5),
        };
        assert_eq!(create.map(|create| create.retry.policy()), Some(expected));
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
            assert!(create(wrong).is_none(), "{wrong:?}");
        }
    }
}
