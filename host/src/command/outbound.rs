//! `picloud outbound`: the private hosts that an app's scripts can call.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::encode;
use super::detail::Output;
use super::{Failure, Server, print};

/// What to do with private hosts.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud outbound list demo
  picloud outbound set demo intranet.example:8080 10.0.0.7
  picloud outbound set demo --none

Scripts can call public hosts. A host of a private network has to be named here, or in
PICLOUD_PRIVATE_HOSTS for all apps.")]
pub(super) enum OutboundCommand {
    /// Print the private hosts that an app's scripts can call
    List(List),
    /// Replace them
    Set(Set),
}

impl OutboundCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Set(set) => set.run(config).await,
        }
    }
}

/// Whose hosts.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// The hosts from now on.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(super) struct Set {
    /// The app
    app: String,
    /// Each of them, as HOST or HOST:PORT
    #[arg(value_name = "HOST", group = "which")]
    hosts: Vec<String>,
    /// No private host
    #[arg(long, group = "which")]
    none: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

fn path(app: &str) -> String {
    format!("/apps/{}/outbound", encode(app))
}

fn show(outbound: &Value, as_json: bool) -> Result<ExitCode, Failure> {
    if as_json {
        print(format!("{outbound:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let hosts = outbound["private_hosts"].as_array().into_iter().flatten();
    print(hosts.filter_map(Value::as_str).map(|host| format!("{host}\n")).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let outbound = client.call(Method::GET, &path(&self.app), None).await?;
        show(&outbound, self.output.json)
    }
}

impl Set {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = json!({ "private_hosts": self.hosts });
        let outbound = client.call(Method::PUT, &path(&self.app), Some(&body)).await?;
        show(&outbound, self.output.json)
    }
}
