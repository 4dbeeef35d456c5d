//! `picloud routes`: the paths at which an app's scripts answer, and who is let in.

mod policy;

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ScriptNames, encode};
use super::detail::{Output, Paging, print_one, print_page};
use super::{Failure, ScriptAddress, Server};

use policy::Policy;

/// What to do with routes.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud routes create demo/hello GET '/hello/{name}'
  picloud routes create demo/order POST /orders --auth key --secret partner_key --rate 10/1
  picloud routes create demo/hook POST /hooks/github --auth github --secret github_webhook
  picloud routes list demo
  picloud routes update 01980000-0000-7000-8000-000000000000 --auth none

A script that a route with --auth leads to no longer answers at /x/APP/SCRIPT.")]
pub(super) enum RoutesCommand {
    /// Print an app's routes
    List(List),
    /// Print a route
    Show(One),
    /// Make a route and print its id
    Create(Box<Create>),
    /// Change a route; what is not named stays
    Update(Box<Update>),
    /// Delete a route
    Delete(Other),
}

impl RoutesCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Show(one) => one.run(config).await,
            Self::Create(create) => create.run(config).await,
            Self::Update(update) => update.run(config).await,
            Self::Delete(other) => other.run(config).await,
        }
    }
}

/// Which routes.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which route.
#[derive(clap::Args)]
pub(super) struct One {
    /// The route's id
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// Which route to delete.
#[derive(clap::Args)]
pub(super) struct Other {
    /// The route's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// A route to be made.
#[derive(clap::Args)]
pub(super) struct Create {
    /// The script that it leads to
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, or '*' for all
    method: String,
    /// The path: segments are static or {name}, the last may be {*rest}
    path: String,
    /// A domain of the app, at whose root the path starts [default: it starts at /x/APP]
    #[arg(long)]
    host: Option<String>,
    #[command(flatten)]
    policy: Policy,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// What to change.
#[derive(clap::Args)]
pub(super) struct Update {
    /// The route's id
    id: String,
    /// The id of another script of the app
    #[arg(long, value_name = "ID")]
    script_id: Option<String>,
    #[command(flatten)]
    policy: Policy,
    #[command(flatten)]
    server: Server,
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/routes?limit={}", encode(&self.app), self.paging.limit);
        let page = client.call(Method::GET, &path, None).await?;
        let names = client.script_names(&self.app).await?;
        print_page(&page, self.paging.json, |route| line(route, &names))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(route: &Value, names: &ScriptNames) -> String {
    let text = |name: &str| route[name].as_str().unwrap_or_default();
    let mut notes = vec![text("id").to_owned()];
    notes.extend((text("delivery") != "sync").then(|| text("delivery").to_owned()));
    let mode = route["auth"]["mode"].as_str().unwrap_or_default();
    notes.extend((mode != "none").then(|| {
        let preset = route["auth"]["preset"].as_str();
        format!("auth {}", preset.unwrap_or(mode))
    }));
    if let (Some(requests), Some(per_s)) =
        (route["rate_limit"]["requests"].as_u64(), route["rate_limit"]["per_s"].as_u64())
    {
        notes.push(format!("rate {requests}/{per_s}"));
    }
    notes.extend(route["concurrency_max"].as_u64().map(|most| format!("{most} at once")));
    notes.extend(route["cors"].is_object().then(|| "cors".to_owned()));
    format!(
        "{:<7} {}{} → {} · {}",
        text("method"),
        text("host"),
        text("path"),
        names.of(route),
        notes.join(" · ")
    )
}

impl One {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let route = client.call(Method::GET, &route_path(&self.id), None).await?;
        let members = [
            "id",
            "script_id",
            "method",
            "host",
            "path",
            "delivery",
            "auth",
            "rate_limit",
            "concurrency_max",
            "cors",
            "created_at",
        ];
        print_one(&route, self.json, &members)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn route_path(id: &str) -> String {
    format!("/routes/{}", encode(id))
}

impl Create {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let script_id = client.script_id(&self.script).await?;
        let mut route = json!({
            "script_id": script_id,
            "method": self.method,
            "path": self.path,
            "host": self.host,
        });
        self.policy.put_into(&mut route)?;
        let path = format!("/apps/{}/routes", encode(&self.script.app));
        let made = client.call(Method::POST, &path, Some(&route)).await?;
        self.output.print(&made, made["id"].as_str().unwrap_or_default())?;
        if made["auth"]["mode"] != "none" {
            eprintln!("{} now answers at its routes only", self.script.script);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Update {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = route_path(&self.id);
        let mut route = client.call(Method::GET, &path, None).await?;
        // What cannot change is not sent.
        if let Some(members) = route.as_object_mut() {
            for fixed in ["id", "method", "host", "path", "created_at"] {
                members.remove(fixed);
            }
        }
        if let Some(script_id) = self.script_id {
            route["script_id"] = json!(script_id);
        }
        self.policy.put_into(&mut route)?;
        client.call(Method::PUT, &path, Some(&route)).await?;
        eprintln!("changed");
        Ok(ExitCode::SUCCESS)
    }
}

impl Other {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.call(Method::DELETE, &route_path(&self.id), None).await?;
        eprintln!("deleted");
        Ok(ExitCode::SUCCESS)
    }
}
