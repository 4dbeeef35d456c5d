//! `picloud members`: who may do what in an app.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::encode;
use super::detail::{Paging, print_page, time};
use super::names;
use super::{Failure, Server};

/// What to do with members.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud members set demo ada editor
  picloud members list demo
  picloud members remove demo ada

Roles: app_admin, editor, viewer.")]
pub(super) enum MembersCommand {
    /// Print an app's members
    List(List),
    /// Make a user a member of an app, or give a member another role
    Set(Set),
    /// Take a user's role in an app away
    Remove(Remove),
}

impl MembersCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Set(set) => set.run(config).await,
            Self::Remove(remove) => remove.run(config).await,
        }
    }
}

/// Whose members.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which member, and the role.
#[derive(clap::Args)]
pub(super) struct Set {
    /// The app
    app: String,
    /// The user's name
    user: String,
    /// The role
    #[arg(value_parser = names::app_roles())]
    role: String,
    #[command(flatten)]
    server: Server,
}

/// Which member.
#[derive(clap::Args)]
pub(super) struct Remove {
    /// The app
    app: String,
    /// The user's name
    user: String,
    #[command(flatten)]
    server: Server,
}

fn path(app: &str, user: &str) -> String {
    format!("/apps/{}/members/{}", encode(app), encode(user))
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/members?limit={}", encode(&self.app), self.paging.limit);
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(member: &Value) -> String {
    let text = |name: &str| member[name].as_str().unwrap_or_default();
    let since = time(member["created_at"].as_i64());
    format!("{:<20} {:<9} since {since}", text("name"), text("role"))
}

impl Set {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = json!({ "role": self.role });
        client.call(Method::PUT, &path(&self.app, &self.user), Some(&body)).await?;
        eprintln!("{} is {} of {}", self.user, self.role, self.app);
        Ok(ExitCode::SUCCESS)
    }
}

impl Remove {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.call(Method::DELETE, &path(&self.app, &self.user), None).await?;
        eprintln!("{} is not a member of {} now", self.user, self.app);
        Ok(ExitCode::SUCCESS)
    }
}
