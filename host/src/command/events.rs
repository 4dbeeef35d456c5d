//! `picloud events`: what waits to be carried out, and messages from outside.

mod cancel;

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, ScriptNames, encode};
use super::data::read_json;
use super::detail::{Output, Paging, print_one, print_page, time};
use super::names;
use super::{Failure, Server, print};

use cancel::{Cancel, Purge};

/// What to do with events.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud events send demo --queue mails --data '{\"to\": \"ada@example.com\"}'
  picloud events send demo --script report --delay-ms 60000
  picloud events list demo
  picloud events show 01980000-0000-7000-8000-000000000000
  picloud events cancel 01980000-0000-7000-8000-000000000000
  picloud events purge demo --queue mails --yes

An event is something that a script is to be run for: a message, a changed key, a
schedule that has come due. It is stored before it is carried out, and gone when it is
done; its run is then found with `picloud logs`, and an event that was given up with
`picloud dead-letters`.")]
pub(super) enum EventsCommand {
    /// Print what waits or runs
    List(List),
    /// Print an event that waits or runs
    Show(Show),
    /// Send a message to a queue, a topic or a script, and print the event's id
    Send(Send),
    /// Cancel an event that waits: its script does not run
    Cancel(Cancel),
    /// Cancel all events of an app that wait, or some of them, and print how many
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

/// Which events.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    /// Only of this kind
    #[arg(long, value_parser = names::kinds())]
    kind: Option<String>,
    /// Only by this queue, topic, collection, bucket or schedule
    #[arg(long)]
    source: Option<String>,
    /// Only what the script with this name is to be run for
    #[arg(long, value_name = "NAME")]
    script: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which event.
#[derive(clap::Args)]
pub(super) struct Show {
    /// The event's id
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// What to send, and where to.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(super) struct Send {
    /// The app
    app: String,
    /// A queue: one trigger gets the message, also one that is made later
    #[arg(long, group = "target")]
    queue: Option<String>,
    /// A topic: every trigger that listens now gets the message
    #[arg(long, group = "target")]
    topic: Option<String>,
    /// A script of the app, to be run once
    #[arg(long, group = "target")]
    script: Option<String>,
    /// The message, as JSON: a text, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Not before so many milliseconds; not for a topic
    #[arg(long, value_name = "N", conflicts_with = "topic")]
    delay_ms: Option<u64>,
    /// Drop it while a message with the same key waits in the queue
    #[arg(long, value_name = "KEY", conflicts_with_all = ["topic", "script"])]
    dedupe: Option<String>,
    /// Send it once, however often this command is given with the same key in a day
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
        let filter =
            query(&[("kind", self.kind), ("source", self.source), ("script_id", script_id)]);
        let path =
            format!("/apps/{}/outbox?limit={}{filter}", encode(&self.app), self.paging.limit);
        let page = client.call(Method::GET, &path, None).await?;
        let names = client.script_names(&self.app).await?;
        print_page(&page, self.paging.json, |event| line(event, &names))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Parameters that are there, to be added to a query.
pub(super) fn query(parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    given.map(|(name, value)| format!("&{name}={}", encode(value))).collect()
}

fn line(event: &Value, names: &ScriptNames) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let mut line = format!(
        "{} {:<10} {} {} {} → {} · {}",
        time(event["created_at"].as_i64()),
        text("state"),
        text("kind"),
        text("operation"),
        text("source"),
        names.of(event),
        text("id"),
    );
    if let Some(error) = event["last_error"].as_str() {
        let next = time(event["available_at"].as_i64());
        line += &format!("\n  attempt {} failed: {error}; next at {next}", event["attempt"]);
    }
    line
}

impl Show {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/events/{}", encode(&self.id));
        let event = client.call(Method::GET, &path, None).await?;
        let members = [
            "id",
            "state",
            "kind",
            "operation",
            "source",
            "payload",
            "trigger_id",
            "script_id",
            "depth",
            "attempt",
            "last_attempt_at",
            "last_error",
            "available_at",
            "caused_by",
            "created_at",
        ];
        print_one(&event, self.json, &members)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Send {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/events", encode(&self.app));
        let mut event = json!({
            "payload": self.data.as_deref().map(read_json).transpose()?,
            "delay_ms": self.delay_ms.unwrap_or_default(),
            "dedupe": self.dedupe,
        });
        for (name, target) in
            [("queue", &self.queue), ("topic", &self.topic), ("script", &self.script)]
        {
            if let Some(target) = target {
                event[name] = json!(target);
            }
        }
        let sent = match &self.idempotency_key {
            Some(key) => client.call_once(&path, &event, key).await?,
            None => client.call(Method::POST, &path, Some(&event)).await?,
        };
        let ids = print_ids(&sent, &self.output)?;
        match (&self.queue, &self.topic) {
            (_, Some(topic)) if ids == 0 => eprintln!("nobody listens to the topic {topic}"),
            (Some(_), _) if ids == 0 => eprintln!("dropped: one with that dedupe key waits"),
            (Some(queue), _) => warn_of_missing_trigger(&client, &self.app, queue, &sent).await?,
            _ => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A message that nobody works off is a mistake more often than not.
async fn warn_of_missing_trigger(
    client: &Client,
    app: &str,
    queue: &str,
    sent: &Value,
) -> Result<(), Failure> {
    let path = format!("/events/{}", sent["event_ids"][0].as_str().unwrap_or_default());
    // It may be done already, which is an answer too.
    if let Ok(event) = client.try_call(Method::GET, &path, None).await?
        && event["state"] == "unassigned"
    {
        eprintln!(
            "it waits: the queue {queue} has no trigger yet; make one with \
             `picloud triggers create {app}/SCRIPT --queue {queue}`"
        );
    }
    Ok(())
}

/// Prints the ids of what was sent, a line each, and says how many there were.
pub(super) fn print_ids(sent: &Value, output: &Output) -> Result<usize, Failure> {
    let ids = sent["event_ids"].as_array().into_iter().flatten();
    let ids: Vec<_> = ids.filter_map(Value::as_str).collect();
    print(match output.json {
        true => format!("{sent:#}\n"),
        false => ids.iter().map(|id| format!("{id}\n")).collect(),
    })?;
    Ok(ids.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_what_was_given() {
        let parameters = [("kind", Some("kv".to_owned())), ("source", None)];
        assert_eq!(query(&parameters), "&kind=kv");
        assert_eq!(query(&[("source", Some("a&b:*".to_owned()))]), "&source=a%26b%3A%2A");
    }
}
