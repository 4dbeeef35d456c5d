//! `picloud scripts`: an app's scripts, and whether their endpoints are open.

mod versions;

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{Script, UpdateScript};

use super::client::{Client, Ignored, encode};
use super::consent::Consent;
use super::output::{Paging, print_page};
use super::{Failure, ScriptAddress, Server};

pub(super) use versions::Rollback;
use versions::{Show, Versions};

/// Commands for scripts.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud scripts list --app demo
  picloud scripts versions demo/hello
  picloud scripts show demo/hello --version 3   its source
  picloud scripts endpoint demo/mailer off      closes its own HTTP endpoint
  picloud scripts endpoint demo/hello on
  picloud scripts delete demo/hello --yes")]
pub(super) enum ScriptsCommand {
    /// List an app's scripts and whether their endpoints are open
    List(List),
    /// List a script's versions, the newest first
    Versions(Versions),
    /// Print the source of a script
    Show(Show),
    /// Open or close a script's own endpoint, /x/APP/SCRIPT
    Endpoint(Endpoint),
    /// Delete a script with its versions, routes and triggers
    Delete(Delete),
}

/// The list to print.
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

/// The endpoint, and whether to open it.
#[derive(clap::Args)]
pub(super) struct Endpoint {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// Whether the endpoint is enabled
    #[arg(value_name = "on|off")]
    switch: Switch,
    #[command(flatten)]
    server: Server,
}

/// The script to delete.
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
        print_page(&client.list(&path).await?, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Endpoint {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/scripts/{}", client.script_id(&self.script).await?);
        let change = UpdateScript {
            endpoint_enabled: Some(self.switch == Switch::On),
            ..UpdateScript::default()
        };
        let script = client.put(&path, &change).await?;
        eprintln!("{}", reach(&client, &script.value));
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
        client.delete::<Ignored>(&path).await?;
        eprintln!("deleted: {app}/{script}");
        Ok(ExitCode::SUCCESS)
    }
}

fn line(script: &Script) -> String {
    let endpoint = match (script.endpoint_open, script.endpoint_enabled) {
        (true, _) => &script.endpoint,
        (false, false) => "endpoint off",
        (false, true) => "endpoint closed by a route or the app",
    };
    format!("{} · version {} · {endpoint}", script.name, script.version)
}

/// Returns a line that says who can call a script at its own endpoint.
pub(super) fn reach(client: &Client, script: &Script) -> String {
    let address = format!("{}/{}", script.app, script.name);
    if !script.endpoint_open {
        return format!("{address} has no open endpoint; only its routes and triggers run it");
    }
    let url = client.full_url(&script.endpoint);
    format!(
        "anyone can call {address} at {url}; `picloud scripts endpoint {address} off` closes it"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::tests::read;

    fn script(enabled: bool, open: bool) -> Script {
        let limits = json!({ "fuel_max": 1, "memory_bytes_max": 2, "wall_ms_max": 3 });
        read(&json!({
            "id": "7", "app": "demo", "name": "hi", "description": "", "version": 2,
            "endpoint": "/x/demo/hi", "endpoint_enabled": enabled, "endpoint_open": open,
            "limits": limits, "limits_in_force": limits, "created_at": 0, "updated_at": 0,
        }))
    }

    #[test]
    fn who_can_call_a_script_is_one_line() {
        let key = "0123456789abcdef".parse().ok();
        let client = Client::new("http://pi.example".to_owned(), key);
        let Ok(client) = client else { panic!("a client without a key") };
        assert_eq!(
            reach(&client, &script(true, true)),
            "anyone can call demo/hi at http://pi.example/x/demo/hi; \
             `picloud scripts endpoint demo/hi off` closes it"
        );
        assert_eq!(
            reach(&client, &script(true, false)),
            "demo/hi has no open endpoint; only its routes and triggers run it"
        );
    }

    #[test]
    fn a_list_tells_why_an_endpoint_is_closed() {
        let shown = |enabled: bool, open: bool| line(&script(enabled, open));
        assert_eq!(shown(true, true), "hi · version 2 · /x/demo/hi");
        assert_eq!(shown(false, false), "hi · version 2 · endpoint off");
        assert_eq!(shown(true, false), "hi · version 2 · endpoint closed by a route or the app");
    }
}
