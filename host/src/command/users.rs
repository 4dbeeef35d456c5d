//! `picloud users`: user accounts and their roles.

use std::ops::ControlFlow;
use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{CreateUser, InvitedUser, Member, SetMember, UpdateUser, User};
use picloud::store::{AppRole, InstanceRole};

use super::client::{Answer, Client, Ignored, encode};
use super::names::{self, named};
use super::output::{Output, Paging, print_page};
use super::time::time;
use super::{Failure, Server};

/// Commands for users.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud users create ada                     prints a link for ada to choose a password
  picloud users role ada editor --app demo
  picloud users invite ada                     a new link, if ada has forgotten the password
  picloud users disable ada")]
pub(super) enum UsersCommand {
    /// Create a user and print the link to choose a password
    Create(Create),
    /// List users
    List(List),
    /// Print a new link for a user to choose a password
    Invite(One),
    /// Set a user's role in an app or in the instance
    Role(Role),
    /// Allow a user to sign in again
    Enable(One),
    /// Block a user from signing in; their triggers stop
    Disable(One),
    /// Delete a user with their keys; their triggers stop
    Delete(One),
}

impl UsersCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::Create(create) => create.run(config).await,
            Self::List(list) => list.run(config).await,
            Self::Invite(one) => one.invite(config).await,
            Self::Role(role) => role.run(config).await,
            Self::Enable(one) => one.switch(config, true).await,
            Self::Disable(one) => one.switch(config, false).await,
            Self::Delete(one) => one.delete(config).await,
        }
    }
}

/// The user to create.
#[derive(clap::Args)]
pub(super) struct Create {
    /// The name to sign in with
    name: String,
    /// The role in the instance
    #[arg(long, default_value = "member", value_parser = names::instance_roles())]
    role: InstanceRole,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// The list to print.
#[derive(clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The user.
#[derive(clap::Args)]
pub(super) struct One {
    /// The user's name
    name: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// The user and the role.
#[derive(clap::Args)]
pub(super) struct Role {
    /// The user's name
    name: String,
    /// app_admin, editor, viewer or none with --app; otherwise owner, admin or member
    role: String,
    /// Set the role in this app
    #[arg(long)]
    app: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// Returns the path of the user with this name.
async fn user_path(client: &Client, name: &str) -> Result<String, Failure> {
    let found = client.visit("/users", |user: User| match user.name == name {
        true => ControlFlow::Break(user.id),
        false => ControlFlow::Continue(()),
    });
    let id = found.await?.ok_or_else(|| Failure(format!("there is no user {name}")))?;
    Ok(format!("/users/{id}"))
}

/// Prints the link to hand over to an invited user.
fn print_link(
    client: &Client,
    invited: &Answer<InvitedUser>,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let url = client.full_url(&invited.value.invitation_path);
    output.print(&invited.json_with("invitation_url", url.as_str().into()), &url)?;
    eprintln!("Give this link to the user, who then chooses a password. It expires in a week.");
    Ok(ExitCode::SUCCESS)
}

impl Create {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let new = CreateUser { name: self.name, role: self.role };
        print_link(&client, &client.post("/users", &new).await?, &self.output)
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let page = client.list(&format!("/users?limit={}", self.paging.limit)).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(User { id, name, role, enabled, signed_in_at, .. }: &User) -> String {
    let state = match (enabled, signed_in_at) {
        (false, _) => "disabled".to_owned(),
        (true, Some(at)) => format!("signed in {}", time(*at)),
        (true, None) => "never signed in".to_owned(),
    };
    format!("{name:<20} {role:<7} {state} · {id}")
}

impl One {
    async fn invite(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("{}/invitation", user_path(&client, &self.name).await?);
        print_link(&client, &client.post_empty(&path).await?, &self.output)
    }

    async fn switch(self, config: Config, enabled: bool) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = user_path(&client, &self.name).await?;
        let change = UpdateUser { role: None, enabled: Some(enabled) };
        client.patch::<User>(&path, &change).await?;
        eprintln!("{} can{} sign in", self.name, if enabled { "" } else { "not" });
        Ok(ExitCode::SUCCESS)
    }

    async fn delete(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&user_path(&client, &self.name).await?).await?;
        eprintln!("deleted: {}", self.name);
        Ok(ExitCode::SUCCESS)
    }
}

impl Role {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let Self { name, role, app, server } = self;
        let client = server.client(config)?;
        let Some(app) = app else {
            let change = UpdateUser { role: Some(named("role", &role)?), enabled: None };
            client.patch::<User>(&user_path(&client, &name).await?, &change).await?;
            eprintln!("{name} is {role} of the instance");
            return Ok(ExitCode::SUCCESS);
        };
        let path = format!("/apps/{}/members/{}", encode(&app), encode(&name));
        if role == "none" {
            client.delete::<Ignored>(&path).await?;
            eprintln!("{name} is no longer a member of {app}");
        } else {
            let set = SetMember { role: named::<AppRole>("role", &role)? };
            client.put::<Member>(&path, &set).await?;
            eprintln!("{name} is {role} of {app}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_line() {
        let user = User {
            id: "0198".to_owned(),
            name: "ada".to_owned(),
            role: InstanceRole::Member.into(),
            enabled: true,
            has_password: false,
            has_identity: false,
            invited_until: None,
            signed_in_at: None,
            created_at: 0,
            updated_at: 0,
        };
        assert_eq!(line(&user), "ada                  member  never signed in · 0198");
    }
}
