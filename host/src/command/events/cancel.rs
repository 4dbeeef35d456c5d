//! `picloud events cancel` and `picloud events purge`.

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::PurgedOutbox;
use picloud::store::TriggerKind;
use serde_json::json;

use crate::command::client::{Ignored, encode, query};
use crate::command::consent::Consent;
use crate::command::names;
use crate::command::output::Output;
use crate::command::{Failure, Server};

/// The event to cancel.
#[derive(clap::Args)]
pub(in crate::command) struct Cancel {
    /// The event's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// Filters for the events to cancel.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud events purge demo --queue mails --yes
  picloud events purge demo --kind cron --yes
  picloud events purge demo --yes                 all pending events

Running events are not cancelled.")]
pub(in crate::command) struct Purge {
    /// The app
    app: String,
    /// Only this kind
    #[arg(long, value_parser = names::kinds())]
    kind: Option<TriggerKind>,
    /// Only events of this queue, topic, collection, bucket or schedule
    #[arg(long)]
    source: Option<String>,
    /// Only the messages of this queue
    #[arg(long, conflicts_with_all = ["kind", "source"])]
    queue: Option<String>,
    /// Only events for the script with this name
    #[arg(long, value_name = "NAME")]
    script: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Cancel {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&format!("/events/{}", encode(&self.id))).await?;
        eprintln!("cancelled: its script will not run");
        Ok(ExitCode::SUCCESS)
    }
}

impl Purge {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        self.consent.check(&format!("cancels {}", self.in_words()))?;
        let client = self.server.client(config)?;
        let Self { app, kind, source, queue, script, output, .. } = self;
        let (kind, source) = match queue {
            Some(queue) => (Some(TriggerKind::Queue), Some(queue)),
            None => (kind, source),
        };
        let script_id = client.script_id_in(&app, script).await?;
        let filter = query(&[
            ("kind", kind.map(TriggerKind::as_str)),
            ("source", source.as_deref()),
            ("script_id", script_id.as_deref()),
        ]);
        let (mut after, mut cancelled): (Option<String>, _) = (None, 0);
        loop {
            let behind = query(&[("after", after.as_deref())]);
            let path = format!("/apps/{}/outbox?{filter}{behind}", encode(&app));
            let purged = client.delete::<PurgedOutbox>(&path).await?.value;
            cancelled += purged.cancelled;
            after = purged.next_after;
            if after.is_none() {
                break;
            }
            eprintln!("cancelled so far: {cancelled}");
        }
        output.print(&json!({ "cancelled": cancelled }), &cancelled.to_string())?;
        eprintln!("events were cancelled; running events, and those about to run, were not");
        Ok(ExitCode::SUCCESS)
    }

    fn in_words(&self) -> String {
        let filters = [
            ("kind", self.kind.map(TriggerKind::as_str)),
            ("source", self.source.as_deref()),
            ("queue", self.queue.as_deref()),
            ("script", self.script.as_deref()),
        ];
        let given = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let given: String = given.map(|(name, value)| format!(", {name} {value}")).collect();
        format!("all pending events of {}{given}", self.app)
    }
}
