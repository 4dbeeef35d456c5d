//! `picloud triggers`: run scripts on events.

mod create;

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{Extensible, FireTrigger, Trigger, TriggerOn, UpdateTrigger};
use picloud::store::TriggerKind;
use serde::Deserialize;

use super::client::{Ignored, ScriptNames, encode, query};
use super::data::read_json;
use super::events::print_ids;
use super::names;
use super::output::{Output, Paging, print_one, print_page};
use super::rows::Rows;
use super::time::time;
use super::{Failure, Server};

use create::Create;

/// Commands for triggers.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud triggers create demo/mailer --queue mails
  picloud triggers create demo/report --cron '30 7 * * MON-FRI' --zone Europe/Berlin
  picloud triggers create demo/index --kv 'articles:*' --operations insert,update
  picloud triggers list demo
  picloud triggers fire 01980000-0000-7000-8000-000000000000

A trigger runs a script on an event: a message arrives, a key changes, a schedule is due.
The script reads the event from `ctx.event`.")]
pub(super) enum TriggersCommand {
    /// List an app's triggers
    List(List),
    /// Show a trigger, and when a schedule is due next
    Show(One),
    /// Create a trigger and print its id
    Create(Box<Create>),
    /// Enable a trigger
    Enable(Other),
    /// Disable a trigger: it does not fire
    Disable(Other),
    /// Delete a trigger; its existing events still run
    Delete(Other),
    /// Fire a trigger now with a sample event, and print the event's id
    Fire(Fire),
}

impl TriggersCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Show(one) => one.run(config).await,
            Self::Create(create) => create.run(config).await,
            Self::Enable(other) => other.switch(config, true).await,
            Self::Disable(other) => other.switch(config, false).await,
            Self::Delete(other) => other.delete(config).await,
            Self::Fire(fire) => fire.run(config).await,
        }
    }
}

/// Filters for the list.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    /// Only this kind
    #[arg(long, value_parser = names::kinds())]
    kind: Option<TriggerKind>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The trigger to show.
#[derive(clap::Args)]
pub(super) struct One {
    /// The trigger's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// The trigger to change.
#[derive(clap::Args)]
pub(super) struct Other {
    /// The trigger's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// The trigger to fire.
#[derive(clap::Args)]
pub(super) struct Fire {
    /// The trigger's id
    id: String,
    /// The event's details, which replace those of the sample event, such as '{"payload": {"id":
    /// 7}}' for a queue: a text, @FILE, or -
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!(
            "/apps/{}/triggers?limit={}{}",
            encode(&self.app),
            self.paging.limit,
            query(&[("kind", self.kind.map(TriggerKind::as_str))]),
        );
        let page = client.list(&path).await?;
        let names = client.script_names(&self.app).await?;
        print_page(&page, self.paging.json, |trigger| line(trigger, &names))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(trigger: &Trigger, names: &ScriptNames) -> String {
    let state = if trigger.enabled { "enabled" } else { "disabled" };
    let next = next_run(trigger).filter(|_| trigger.enabled);
    let next = next.map(|at| format!(" · next at {}", time(at)));
    let warning = trigger.schedule_warning.as_ref().map(|why| format!(" · warning: {why}"));
    format!(
        "{state:<8} {} → {} · {}{}{}",
        on_in_words(&trigger.on),
        names.of(Some(&trigger.script_id)),
        trigger.id,
        next.unwrap_or_default(),
        warning.unwrap_or_default(),
    )
}

/// Returns the next firing of a schedule.
fn next_run(trigger: &Trigger) -> Option<i64> {
    trigger.next_runs.as_ref()?.first().copied()
}

/// Returns a short description of the event that a trigger fires on.
fn on_in_words(on: &Extensible<TriggerOn>) -> String {
    let Extensible::Known(known) = on else { return newer_in_words(on) };
    let words = match known {
        TriggerOn::Kv { collection, .. } => format!("kv {collection}"),
        TriggerOn::Cron { schedule, zone, .. } => {
            format!("cron {schedule} {}", zone.as_deref().unwrap_or_default())
        }
        TriggerOn::Queue { queue } => format!("queue {queue}"),
        TriggerOn::Pubsub { topic } => format!("pubsub {topic}"),
        TriggerOn::Email { address } => format!("email {address}"),
        TriggerOn::Files { bucket, path, .. } => {
            format!("files {bucket}/{}", path.as_deref().unwrap_or_default())
        }
        TriggerOn::DeadLetter { source_kind, .. } => {
            format!("dead_letter {}", source_kind.map_or("", TriggerKind::as_str))
        }
    };
    words.trim_end().to_owned()
}

/// Describes an event that this release does not know in full.
fn newer_in_words(on: &Extensible<TriggerOn>) -> String {
    #[derive(Deserialize)]
    struct Newer {
        kind: String,
        #[serde(
            default,
            alias = "collection",
            alias = "schedule",
            alias = "queue",
            alias = "topic",
            alias = "bucket"
        )]
        source: String,
    }
    let words = on.read().map(|Newer { kind, source }| format!("{kind} {source}"));
    words.unwrap_or_default().trim_end().to_owned()
}

impl One {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let trigger = client.get(&trigger_path(&self.id)).await?;
        print_one(&trigger, self.json, rows(&trigger.value))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(trigger: &Trigger) -> Rows {
    let next_runs = trigger.next_runs.as_ref();
    let next_runs: Option<Vec<_>> = next_runs.map(|runs| runs.iter().map(|&at| time(at)).collect());
    Rows::default()
        .text("id", &trigger.id)
        .text("script_id", &trigger.script_id)
        .text("enabled", trigger.enabled)
        .json("on", &trigger.on)
        .json("next_runs", &next_runs)
        .maybe("schedule_warning", trigger.schedule_warning.as_ref())
        .json("retry", &trigger.retry)
        .text("registered_by", &trigger.registered_by)
        .time("created_at", trigger.created_at)
        .time("updated_at", trigger.updated_at)
}

fn trigger_path(id: &str) -> String {
    format!("/triggers/{}", encode(id))
}

impl Other {
    async fn switch(self, config: Config, enabled: bool) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let change = UpdateTrigger { enabled: Some(enabled), ..UpdateTrigger::default() };
        let trigger = client.patch::<Trigger>(&trigger_path(&self.id), &change).await?;
        let state = if enabled { "enabled" } else { "disabled" };
        eprintln!("{state}: {}", on_in_words(&trigger.value.on));
        Ok(ExitCode::SUCCESS)
    }

    async fn delete(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&trigger_path(&self.id)).await?;
        eprintln!("deleted");
        Ok(ExitCode::SUCCESS)
    }
}

impl Fire {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let payload = self.data.as_deref().map(read_json).transpose()?.unwrap_or_default();
        let fire = FireTrigger { payload, operation: None };
        let path = format!("{}/fire", trigger_path(&self.id));
        print_ids(&client.post(&path, &fire).await?, &self.output)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_described_in_a_few_words() {
        let words = |json: &str| on_in_words(&serde_json::from_str(json).unwrap());
        for (on, expected) in [
            (r#"{"kind":"cron","schedule":"@daily","zone":"UTC"}"#, "cron @daily UTC"),
            (r#"{"kind":"dead_letter","source_kind":null}"#, "dead_letter"),
            (r#"{"kind":"dead_letter","source_kind":"kv"}"#, "dead_letter kv"),
            (r#"{"kind":"files","bucket":"b","path":"*.png"}"#, "files b/*.png"),
            // Sent by a newer server.
            (r#"{"kind":"moon","phase":1}"#, "moon"),
            (r#"{"kind":"queue","queue":"q","phase":1}"#, "queue q"),
        ] {
            assert_eq!(words(on), expected, "{on}");
        }
    }
}
