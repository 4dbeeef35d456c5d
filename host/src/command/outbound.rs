//! `picloud outbound`: the private hosts that an app's scripts can call.

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{Outbound, PutOutbound};

use super::client::{Answer, encode};
use super::output::{Output, print_one};
use super::{Failure, Server};

/// Commands for private hosts.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud outbound list demo
  picloud outbound set demo intranet.example:8080 10.0.0.7
  picloud outbound set demo --none

Scripts can call all public hosts. A host in a private network must be listed here, or in
PICLOUD_PRIVATE_HOSTS for all apps.")]
pub(super) enum OutboundCommand {
    /// List the private hosts that an app's scripts can call
    List(List),
    /// Replace the list
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

/// The list to print.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// The new list.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(super) struct Set {
    /// The app
    app: String,
    /// A host, as HOST or HOST:PORT; can be repeated
    #[arg(value_name = "HOST", group = "which")]
    hosts: Vec<String>,
    /// Clear the list
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

fn show(outbound: &Answer<Outbound>, output: &Output) -> Result<ExitCode, Failure> {
    let hosts = outbound.value.private_hosts.iter();
    print_one(outbound, output.json, hosts.map(|host| format!("{host}\n")).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        show(&client.get(&path(&self.app)).await?, &self.output)
    }
}

impl Set {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let hosts = PutOutbound { private_hosts: self.hosts };
        show(&client.put(&path(&self.app), &hosts).await?, &self.output)
    }
}
