//! `picloud scripts`: an app's scripts, and whether anybody can call them.

mod versions;

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, encode};
use super::consent::Consent;
use super::detail::{Paging, print_page};
use super::{Failure, ScriptAddress, Server};

pub(super) use versions::Rollback;
use versions::{Show, Versions};

/// What to do with scripts.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud scripts list --app demo
  picloud scripts versions demo/hello
  picloud scripts show demo/hello --version 3   its source
  picloud scripts endpoint demo/mailer off      nobody can call it over HTTP at its own endpoint
  picloud scripts endpoint demo/hello on
  picloud scripts delete demo/hello --yes")]
pub(super) enum ScriptsCommand {
    /// Print an app's scripts and whether their endpoints are open
    List(List),
    /// Print a script's versions, the newest first
    Versions(Versions),
    /// Print the source of a script
    Show(Show),
    /// Open or close a script's own endpoint, /x/APP/SCRIPT
    Endpoint(Endpoint),
    /// Delete a script with its versions, routes and triggers
    Delete(Delete),
}

/// Which scripts.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    #[arg(long)]
    app: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which endpoint, and whether it is open.
#[derive(clap::Args)]
pub(super) struct Endpoint {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// Whether it may be open
    #[arg(value_name = "on|off")]
    switch: Switch,
    #[command(flatten)]
    server: Server,
}

/// Which script to delete.
#[derive(clap::Args)]
pub(super) struct Delete {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    server: Server,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl ScriptsCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Versions(versions) => versions.run(config).await,
            Self::Show(show) => show.run(config).await,
            Self::Endpoint(endpoint) => endpoint.run(config).await,
            Self::Delete(delete) => delete.run(config).await,
        }
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/scripts?limit={}", encode(&self.app), self.paging.limit);
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Endpoint {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/scripts/{}", client.script_id(&self.script).await?);
        let body = json!({ "endpoint_enabled": self.switch == Switch::On });
        let script = client.call(Method::PUT, &path, Some(&body)).await?;
        eprintln!("{}", reach(&client, &script));
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let ScriptAddress { app, script } = &self.script;
        self.consent.check(&format!(
            "deletes the script {app}/{script} with its versions, routes and triggers"
        ))?;
        let client = self.server.client(config)?;
        let path = format!("/scripts/{}", client.script_id(&self.script).await?);
        client.call(Method::DELETE, &path, None).await?;
        eprintln!("deleted: {app}/{script}");
        Ok(ExitCode::SUCCESS)
    }
}

fn line(script: &Value) -> String {
    let text = |name: &str| script[name].as_str().unwrap_or_default();
    let endpoint = match (&script["endpoint_open"], &script["endpoint_enabled"]) {
        (Value::Bool(true), _) => text("endpoint"),
        (_, Value::Bool(false)) => "endpoint off",
        _ => "endpoint closed by a route or the app",
    };
    format!("{} · version {} · {endpoint}", text("name"), script["version"])
}

/// Who can call a script at its own endpoint, in one line.
pub(super) fn reach(client: &Client, script: &Value) -> String {
    let text = |name: &str| script[name].as_str().unwrap_or_default();
    let address = format!("{}/{}", text("app"), text("name"));
    if script["endpoint_open"] != true {
        return format!("{address} has no open endpoint; only its routes and triggers run it");
    }
    let url = client.full_url(text("endpoint"));
    format!(
        "anybody can call {address} at {url}; `picloud scripts endpoint {address} off` closes it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_call_a_script_is_one_line() {
        let key = "0123456789abcdef".parse().ok();
        let client = Client::new("http://pi.example".to_owned(), key);
        let Ok(client) = client else { panic!("a client without a key") };
        let script = |open: bool| json!({ "app": "demo", "name": "hi", "endpoint": "/x/demo/hi", "endpoint_open": open });
        assert_eq!(
            reach(&client, &script(true)),
            "anybody can call demo/hi at http://pi.example/x/demo/hi; \
             `picloud scripts endpoint demo/hi off` closes it"
        );
        assert_eq!(
            reach(&client, &script(false)),
            "demo/hi has no open endpoint; only its routes and triggers run it"
        );
    }

    #[test]
    fn a_list_tells_why_an_endpoint_is_closed() {
        let shown = |enabled: bool, open: bool| {
            line(&json!({ "name": "hi", "version": 2, "endpoint": "/x/demo/hi",
                "endpoint_enabled": enabled, "endpoint_open": open }))
        };
        assert_eq!(shown(true, true), "hi · version 2 · /x/demo/hi");
        assert_eq!(shown(false, false), "hi · version 2 · endpoint off");
        assert_eq!(shown(true, false), "hi · version 2 · endpoint closed by a route or the app");
    }
}
