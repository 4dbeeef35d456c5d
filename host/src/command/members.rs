//! `picloud members`: the members of an app and their roles.

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{Member, SetMember};
use picloud::store::AppRole;

use super::client::{Ignored, encode};
use super::names;
use super::output::{Paging, print_page};
use super::time::time;
use super::{Failure, Server};

/// Commands for members.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud members set demo ada editor
  picloud members list demo
  picloud members remove demo ada

Roles: app_admin, editor, viewer.")]
pub(super) enum MembersCommand {
    /// List an app's members
    List(List),
    /// Add a user to an app, or change their role
    Set(Set),
    /// Remove a user from an app
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

/// The member and the role.
#[derive(clap::Args)]
pub(super) struct Set {
    /// The app
    app: String,
    /// The user's name
    user: String,
    /// The role
    #[arg(value_parser = names::app_roles())]
    role: AppRole,
    #[command(flatten)]
    server: Server,
}

/// The member to remove.
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
        print_page(&client.list(&path).await?, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(Member { name, role, created_at, .. }: &Member) -> String {
    format!("{name:<20} {role:<9} since {}", time(*created_at))
}

impl Set {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let Self { app, user, role, .. } = self;
        client.put::<Member>(&path(&app, &user), &SetMember { role }).await?;
        eprintln!("{user} is {} of {app}", role.as_str());
        Ok(ExitCode::SUCCESS)
    }
}

impl Remove {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&path(&self.app, &self.user)).await?;
        eprintln!("{} is no longer a member of {}", self.user, self.app);
        Ok(ExitCode::SUCCESS)
    }
}
