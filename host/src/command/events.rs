//! `picloud events`: lists and cancels pending events, and sends messages.

mod cancel;

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{Event, SendEvent, SentEvents};
use picloud::store::TriggerKind;

use super::client::{Answer, CallError, Client, ScriptNames, encode, query};
use super::data::read_json;
use super::names;
use super::output::{Output, Paging, print_one, print_page};
use super::rows::Rows;
use super::time::time;
use super::{Failure, Server};

use cancel::{Cancel, Purge};

/// Commands for events.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud events send demo --queue mails --data '{\"to\": \"ada@example.com\"}'
  picloud events send demo --script report --delay-ms 60000
  picloud events list demo
  picloud events show 01980000-0000-7000-8000-000000000000
  picloud events cancel 01980000-0000-7000-8000-000000000000
  picloud events purge demo --queue mails --yes

An event makes a script run: a message, a changed key, a schedule that is due. It is
stored before it runs, and deleted when it is done. Its run is then in `picloud logs`. An
event that failed too often is in `picloud dead-letters`.")]
pub(super) enum EventsCommand {
    /// List pending and running events
    List(List),
    /// Show a pending or running event
    Show(Show),
    /// Send a message to a queue, a topic or a script, and print the event's id
    Send(Send),
    /// Cancel a pending event: its script does not run
    Cancel(Cancel),
    /// Cancel all pending events of an app, or some of them, and print their number
    Purge(Purge),
}

impl EventsCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Show(show) => show.run(config).await,
            Self::Send(send) => send.run(config).await,
            Self::Cancel(cancel) => cancel.run(config).await,
            Self::Purge(purge) => purge.run(config).await,
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
    /// Only events of this queue, topic, collection, bucket or schedule
    #[arg(long)]
    source: Option<String>,
    /// Only events for the script with this name
    #[arg(long, value_name = "NAME")]
    script: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The event to show.
#[derive(clap::Args)]
pub(super) struct Show {
    /// The event's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// The message and its target.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(super) struct Send {
    /// The app
    app: String,
    /// The queue; its trigger gets the message, even if it is created later
    #[arg(long, group = "target")]
    queue: Option<String>,
    /// The topic; all its current triggers get the message
    #[arg(long, group = "target")]
    topic: Option<String>,
    /// The script of the app to run once
    #[arg(long, group = "target")]
    script: Option<String>,
    /// The message, as JSON: a text, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Delay in milliseconds; not for a topic
    #[arg(long, value_name = "N", conflicts_with = "topic", value_parser = clap::value_parser!(i64).range(0..))]
    delay_ms: Option<i64>,
    /// Drop the message if another one with the same key is pending in the queue
    #[arg(long, value_name = "KEY", conflicts_with_all = ["topic", "script"])]
    dedupe: Option<String>,
    /// Send the message only once for all commands with this key within a day
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let script_id = client.script_id_in(&self.app, self.script).await?;
        let filter = query(&[
            ("kind", self.kind.map(TriggerKind::as_str)),
            ("source", self.source.as_deref()),
            ("script_id", script_id.as_deref()),
        ]);
        let path =
            format!("/apps/{}/outbox?limit={}{filter}", encode(&self.app), self.paging.limit);
        let page = client.list(&path).await?;
        let names = client.script_names(&self.app).await?;
        print_page(&page, self.paging.json, |event| line(event, &names))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(event: &Event, names: &ScriptNames) -> String {
    let mut line = format!(
        "{} {:<10} {} {} {} → {} · {}",
        time(event.created_at),
        event.state,
        event.kind,
        event.operation,
        event.source,
        names.of(event.script_id.as_deref()),
        event.id,
    );
    if let Some(error) = &event.last_error {
        let next = time(event.available_at);
        line += &format!("\n  attempt {} failed: {error}; next at {next}", event.attempt);
    }
    line
}

impl Show {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let event = client.get(&format!("/events/{}", encode(&self.id))).await?;
        print_one(&event, self.json, rows(&event.value))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(event: &Event) -> Rows {
    Rows::default()
        .text("id", &event.id)
        .text("state", &event.state)
        .text("kind", &event.kind)
        .text("operation", &event.operation)
        .text("source", &event.source)
        .any("payload", &event.payload)
        .maybe("trigger_id", event.trigger_id.as_ref())
        .maybe("script_id", event.script_id.as_ref())
        .text("depth", event.depth)
        .text("attempt", event.attempt)
        .time("last_attempt_at", event.last_attempt_at)
        .maybe("last_error", event.last_error.as_ref())
        .time("available_at", event.available_at)
        .maybe("caused_by", event.caused_by.as_ref())
        .time("created_at", event.created_at)
}

impl Send {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/events", encode(&self.app));
        let event = SendEvent {
            queue: self.queue,
            topic: self.topic,
            script: self.script,
            payload: self.data.as_deref().map(read_json).transpose()?.unwrap_or_default(),
            delay_ms: self.delay_ms.unwrap_or_default(),
            dedupe: self.dedupe,
        };
        let sent = match &self.idempotency_key {
            Some(key) => client.post_once(&path, &event, key).await?,
            None => client.post(&path, &event).await?,
        };
        print_ids(&sent, &self.output)?;
        match (&event.queue, &event.topic, sent.value.event_ids.first()) {
            (_, Some(topic), None) => eprintln!("no trigger listens to the topic {topic}"),
            (Some(_), _, None) => {
                eprintln!("dropped: another message with this dedupe key is pending");
            }
            (Some(queue), _, Some(id)) => {
                warn_of_missing_trigger(&client, &self.app, queue, id).await?;
            }
            _ => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Warns of a message without a trigger, because that usually is a mistake.
async fn warn_of_missing_trigger(
    client: &Client,
    app: &str,
    queue: &str,
    id: &str,
) -> Result<(), Failure> {
    match client.get::<Event>(&format!("/events/{id}")).await {
        Ok(event) if event.value.state == "unassigned" => eprintln!(
            "it is pending: the queue {queue} has no trigger yet; create one with \
             `picloud triggers create {app}/SCRIPT --queue {queue}`"
        ),
        // The event may be done already, which is fine too.
        Ok(_) | Err(CallError::Refused(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Prints the ids of the sent events, one on a line.
pub(super) fn print_ids(sent: &Answer<SentEvents>, output: &Output) -> Result<(), Failure> {
    let ids: String = sent.value.event_ids.iter().map(|id| format!("{id}\n")).collect();
    print_one(sent, output.json, ids)
}
