//! `picloud triggers`: what makes a script run besides a request.

mod create;

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, ScriptNames, encode};
use super::data::read_json;
use super::detail::{Output, Paging, print_one, print_page, time};
use super::events::{print_ids, query};
use super::names;
use super::{Failure, Server};

use create::Create;

/// What to do with triggers.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud triggers create demo/mailer --queue mails
  picloud triggers create demo/report --cron '30 7 * * MON-FRI' --zone Europe/Berlin
  picloud triggers create demo/index --kv 'articles:*' --operations insert,update
  picloud triggers list demo
  picloud triggers fire 01980000-0000-7000-8000-000000000000

A trigger runs a script when something happens: a message comes, a key changes, a
schedule is due. The script finds what it was in `ctx.event`.")]
pub(super) enum TriggersCommand {
    /// Print an app's triggers
    List(List),
    /// Print a trigger, and when a schedule is due next
    Show(One),
    /// Make a trigger and print its id
    Create(Box<Create>),
    /// Let a trigger fire again
    Enable(Other),
    /// Keep a trigger from firing
    Disable(Other),
    /// Delete a trigger; what it has brought already is carried out
    Delete(Other),
    /// Fire a trigger now, with an event that is made up, and print the event's id
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

/// Which triggers.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    /// Only of this kind
    #[arg(long, value_parser = names::kinds())]
    kind: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which trigger.
#[derive(clap::Args)]
pub(super) struct One {
    /// The trigger's id
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// Which trigger to change.
#[derive(clap::Args)]
pub(super) struct Other {
    /// The trigger's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// What to fire.
#[derive(clap::Args)]
pub(super) struct Fire {
    /// The trigger's id
    id: String,
    /// Details of the event in the place of those that are made up, such as
    /// '{"payload": {"id": 7}}' for a queue: a text, @FILE, or -
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
            query(&[("kind", self.kind)]),
        );
        let page = client.call(Method::GET, &path, None).await?;
        let names = client.script_names(&self.app).await?;
        print_page(&page, self.paging.json, |trigger| line(trigger, &names))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(trigger: &Value, names: &ScriptNames) -> String {
    let state = if trigger["enabled"] == true { "enabled" } else { "disabled" };
    let next = trigger["next_runs"][0].as_i64().filter(|_| trigger["enabled"] == true);
    let next = next.map(|at| format!(" · next at {}", time(Some(at))));
    let warning = trigger["schedule_warning"].as_str().map(|why| format!(" · warning: {why}"));
    format!(
        "{state:<8} {} → {} · {}{}{}",
        on_in_words(&trigger["on"]),
        names.of(trigger),
        trigger["id"].as_str().unwrap_or_default(),
        next.unwrap_or_default(),
        warning.unwrap_or_default(),
    )
}

/// What a trigger fires on, in a few words.
fn on_in_words(on: &Value) -> String {
    let text = |name: &str| on[name].as_str().unwrap_or_default();
    let kind = text("kind");
    let what = match kind {
        "kv" => text("collection").to_owned(),
        "cron" => format!("{} {}", text("schedule"), text("zone")),
        "queue" => text("queue").to_owned(),
        "pubsub" => text("topic").to_owned(),
        "email" => text("address").to_owned(),
        "files" => format!("{}/{}", text("bucket"), text("path")),
        _ => text("source_kind").to_owned(),
    };
    format!("{kind} {what}").trim_end().to_owned()
}

impl One {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let mut trigger = client.call(Method::GET, &trigger_path(&self.id), None).await?;
        if !self.json
            && let Some(runs) = trigger["next_runs"].as_array()
        {
            trigger["next_runs"] = runs.iter().map(|at| time(at.as_i64())).collect();
        }
        let members = [
            "id",
            "script_id",
            "enabled",
            "on",
            "next_runs",
            "schedule_warning",
            "retry",
            "registered_by",
            "created_at",
            "updated_at",
        ];
        print_one(&trigger, self.json, &members)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn trigger_path(id: &str) -> String {
    format!("/triggers/{}", encode(id))
}

impl Other {
    async fn switch(self, config: Config, enabled: bool) -> Result<ExitCode, Failure> {
        let client: Client = self.server.client(config)?;
        let body = json!({ "enabled": enabled });
        let trigger = client.call(Method::PATCH, &trigger_path(&self.id), Some(&body)).await?;
        let state = if enabled { "enabled" } else { "disabled" };
        eprintln!("{state}: {}", on_in_words(&trigger["on"]));
        Ok(ExitCode::SUCCESS)
    }

    async fn delete(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.call(Method::DELETE, &trigger_path(&self.id), None).await?;
        eprintln!("deleted");
        Ok(ExitCode::SUCCESS)
    }
}

impl Fire {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let details = self.data.as_deref().map(read_json).transpose()?;
        let body = json!({ "payload": details.unwrap_or_else(|| json!({})) });
        let path = format!("{}/fire", trigger_path(&self.id));
        let sent = client.call(Method::POST, &path, Some(&body)).await?;
        print_ids(&sent, &self.output)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_fires_on_is_said_in_a_few_words() {
        let cron = json!({ "kind": "cron", "schedule": "@daily", "zone": "UTC" });
        assert_eq!(on_in_words(&cron), "cron @daily UTC");
        assert_eq!(on_in_words(&json!({ "kind": "dead_letter" })), "dead_letter");
        let files = json!({ "kind": "files", "bucket": "b", "path": "*.png" });
        assert_eq!(on_in_words(&files), "files b/*.png");
    }
}
