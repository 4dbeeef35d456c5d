//! `picloud events cancel` and `picloud events purge`.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::query;
use crate::command::client::encode;
use crate::command::consent::Consent;
use crate::command::detail::Output;
use crate::command::names;
use crate::command::{Failure, Server};

/// Which event.
#[derive(clap::Args)]
pub(in crate::command) struct Cancel {
    /// The event's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// Which events.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud events purge demo --queue mails --yes
  picloud events purge demo --kind cron --yes
  picloud events purge demo --yes                 all that wait

What runs is left alone.")]
pub(in crate::command) struct Purge {
    /// The app
    app: String,
    /// Only of this kind
    #[arg(long, value_parser = names::kinds())]
    kind: Option<String>,
    /// Only by this queue, topic, collection, bucket or schedule
    #[arg(long)]
    source: Option<String>,
    /// Only the messages of this queue
    #[arg(long, conflicts_with_all = ["kind", "source"])]
    queue: Option<String>,
    /// Only what the script with this name is to be run for
    #[arg(long, value_name = "NAME")]
    script: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// What one request has cancelled.
#[derive(Deserialize)]
struct Purged {
    cancelled: u64,
    next_after: Option<String>,
}

impl Cancel {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.call(Method::DELETE, &format!("/events/{}", encode(&self.id)), None).await?;
        eprintln!("cancelled: its script does not run");
        Ok(ExitCode::SUCCESS)
    }
}

impl Purge {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        self.consent.check(&format!("cancels {}", self.in_words()))?;
        let client = self.server.client(config)?;
        let Self { app, kind, source, queue, script, output, .. } = self;
        let (kind, source) = match queue {
            Some(queue) => (Some("queue".to_owned()), Some(queue)),
            None => (kind, source),
        };
        let script_id = client.script_id_in(&app, script).await?;
        let filter = query(&[("kind", kind), ("source", source), ("script_id", script_id)]);
        let (mut after, mut cancelled) = (None, 0);
        loop {
            let path =
                format!("/apps/{}/outbox?{filter}{}", encode(&app), query(&[("after", after)]));
            let purged = client.call(Method::DELETE, &path, None).await?;
            let purged: Purged = serde_json::from_value(purged).map_err(Failure::new)?;
            cancelled += purged.cancelled;
            after = purged.next_after;
            if after.is_none() {
                break;
            }
            eprintln!("cancelled so far: {cancelled}");
        }
        output.print(&json!({ "cancelled": cancelled }), &cancelled.to_string())?;
        eprintln!("events were cancelled; what runs, or is about to, is left alone");
        Ok(ExitCode::SUCCESS)
    }

    fn in_words(&self) -> String {
        let filters = [
            ("kind", &self.kind),
            ("source", &self.source),
            ("queue", &self.queue),
            ("script", &self.script),
        ];
        let given = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let given: String = given.map(|(name, value)| format!(", {name} {value}")).collect();
        format!("all events of {} that wait{given}", self.app)
    }
}
