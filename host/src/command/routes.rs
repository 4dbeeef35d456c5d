//! `picloud routes`: methods and paths that lead to an app's scripts.

mod policy;
mod update;

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{CreateRoute, Extensible, RateLimit, Route, RouteAuth};
use picloud::store::Delivery;
use serde::Deserialize;

use super::client::{Ignored, ScriptNames, encode};
use super::output::{Output, Paging, print_one, print_page};
use super::rows::Rows;
use super::{Failure, ScriptAddress, Server};

use policy::Policy;
use update::Update;

/// Commands for routes.
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
    /// List an app's routes
    List(List),
    /// Show a route
    Show(One),
    /// Create a route and print its id
    Create(Box<Create>),
    /// Change a route; omitted options are not changed
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

/// The list to print.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The route to show.
#[derive(clap::Args)]
pub(super) struct One {
    /// The route's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// The route to delete.
#[derive(clap::Args)]
pub(super) struct Other {
    /// The route's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// The route to create.
#[derive(clap::Args)]
pub(super) struct Create {
    /// The script to run
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, or '*' for all
    method: String,
    /// The path: each segment is static or {name}; the last can be {*rest}
    path: String,
    /// The app's domain that serves the path [default: the path is below /x/APP]
    #[arg(long)]
    host: Option<String>,
    #[command(flatten)]
    policy: Policy,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/routes?limit={}", encode(&self.app), self.paging.limit);
        let page = client.list(&path).await?;
        let names = client.script_names(&self.app).await?;
        print_page(&page, self.paging.json, |route| line(route, &names))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(route: &Route, names: &ScriptNames) -> String {
    let mut notes = vec![route.id.clone()];
    if route.delivery.known() != Some(&Delivery::Sync) {
        notes.push(route.delivery.to_string());
    }
    notes.extend(auth_in_words(&route.auth).map(|auth| format!("auth {auth}")));
    notes.extend(route.rate_limit.as_ref().and_then(rate_in_words));
    notes.extend(route.concurrency_max.map(|most| format!("{most} at once")));
    notes.extend(route.cors.as_ref().map(|_| "cors".to_owned()));
    format!(
        "{:<7} {}{} → {} · {}",
        route.method,
        route.host.as_deref().unwrap_or_default(),
        route.path,
        names.of(Some(&route.script_id)),
        notes.join(" · ")
    )
}

/// Returns the mode of authentication, or the preset of a signature; `None` if everyone can call.
fn auth_in_words(auth: &Extensible<RouteAuth>) -> Option<String> {
    #[derive(Deserialize)]
    struct Mode {
        mode: String,
        preset: Option<String>,
    }
    let Mode { mode, preset } = auth.read()?;
    (mode != "none").then(|| preset.unwrap_or(mode))
}

fn rate_in_words(rate: &Extensible<RateLimit>) -> Option<String> {
    #[derive(Deserialize)]
    struct Rate {
        requests: u32,
        per_s: u32,
    }
    rate.read().map(|Rate { requests, per_s }| format!("rate {requests}/{per_s}"))
}

impl One {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let route = client.get(&route_path(&self.id)).await?;
        print_one(&route, self.json, rows(&route.value))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(route: &Route) -> Rows {
    Rows::default()
        .text("id", &route.id)
        .text("script_id", &route.script_id)
        .text("method", &route.method)
        .maybe("host", route.host.as_ref())
        .text("path", &route.path)
        .text("delivery", &route.delivery)
        .json("auth", &route.auth)
        .json("rate_limit", &route.rate_limit)
        .maybe("concurrency_max", route.concurrency_max)
        .json("cors", &route.cors)
        .time("created_at", route.created_at)
}

fn route_path(id: &str) -> String {
    format!("/routes/{}", encode(id))
}

impl Create {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let script_id = client.script_id(&self.script).await?;
        let ScriptAddress { app, script } = self.script;
        let given = self.policy.given()?;
        let new = CreateRoute {
            script_id,
            method: self.method,
            host: self.host,
            path: self.path,
            delivery: given.delivery,
            auth: given.auth,
            rate_limit: given.rate_limit.flatten(),
            concurrency_max: given.concurrency_max.flatten(),
            cors: given.cors.flatten(),
        };
        let made = client.post::<Route>(&format!("/apps/{}/routes", encode(&app)), &new).await?;
        self.output.print(&made, &made.value.id)?;
        if auth_in_words(&made.value.auth).is_some() {
            eprintln!("{script} now answers at its routes only");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Other {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&route_path(&self.id)).await?;
        eprintln!("deleted");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_says_more_than_its_mode() {
        let auth = |json: &str| auth_in_words(&serde_json::from_str(json).unwrap());
        assert_eq!(auth(r#"{"mode":"none"}"#), None);
        assert_eq!(auth(r#"{"mode":"key","secrets":["a"],"header":null}"#).as_deref(), Some("key"));
        let github = r#"{"mode":"hmac","secrets":["a"],"preset":"github"}"#;
        assert_eq!(auth(github).as_deref(), Some("github"));
        // Sent by a newer server.
        assert_eq!(auth(r#"{"mode":"moon","phase":1}"#).as_deref(), Some("moon"));
        assert_eq!(auth(r#"{"mode":"none","phase":1}"#), None);
        let rate = serde_json::from_str(r#"{"requests":9,"per_s":1,"by":"moon"}"#).unwrap();
        assert_eq!(rate_in_words(&rate).as_deref(), Some("rate 9/1"));
    }
}
