//! `picloud users`: the people who sign in, and what they may do in an app.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, encode};
use super::detail::{Output, Paging, print_page, time};
use super::names;
use super::{Failure, Server};

/// What to do with users.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud users create ada                     prints a link for ada to choose a password
  picloud users role ada editor --app demo
  picloud users invite ada                     another link, if the password is forgotten
  picloud users disable ada")]
pub(super) enum UsersCommand {
    /// Make a user and print the link to choose a password with
    Create(Create),
    /// Print the users that there are
    List(List),
    /// Print a new link for a user to choose a password with
    Invite(One),
    /// What a user may do: in an app, or in the instance
    Role(Role),
    /// Let a user sign in again
    Enable(One),
    /// Keep a user from signing in; their triggers stop
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

/// A user to be made.
#[derive(clap::Args)]
pub(super) struct Create {
    /// The name to sign in with
    name: String,
    /// The role in the instance
    #[arg(long, default_value = "member", value_parser = names::instance_roles())]
    role: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// Which users.
#[derive(clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which user.
#[derive(clap::Args)]
pub(super) struct One {
    /// Their name
    name: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// What a user may do from now on.
#[derive(clap::Args)]
pub(super) struct Role {
    /// Their name
    name: String,
    /// app_admin, editor, viewer or none with --app; else owner, admin or member
    role: String,
    /// In this app
    #[arg(long)]
    app: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// The id of the user of that name.
async fn user_id(client: &Client, name: &str) -> Result<String, Failure> {
    let mut offset = Some(0);
    while let Some(from) = offset {
        let path = format!("/users?limit=200&offset={from}");
        let page = client.call(Method::GET, &path, None).await?;
        let mut users = page["items"].as_array().into_iter().flatten();
        if let Some(user) = users.find(|user| user["name"] == name) {
            return Ok(user["id"].as_str().unwrap_or_default().to_owned());
        }
        offset = page["next_offset"].as_u64();
    }
    Err(Failure(format!("there is no user {name}")))
}

/// Prints the link that an invited user is handed.
fn print_link(client: &Client, mut invited: Value, output: &Output) -> Result<ExitCode, Failure> {
    let path = invited["invitation_path"].as_str().unwrap_or_default();
    let url = client.full_url(path);
    invited["invitation_url"] = json!(url);
    output.print(&invited, &url)?;
    eprintln!("Hand this link over: whoever opens it chooses the password. It is good for a week.");
    Ok(ExitCode::SUCCESS)
}

impl Create {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = json!({ "name": self.name, "role": self.role });
        let made = client.call(Method::POST, "/users", Some(&body)).await?;
        print_link(&client, made, &self.output)
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/users?limit={}", self.paging.limit);
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(user: &Value) -> String {
    let text = |name: &str| user[name].as_str().unwrap_or_default();
    let state = match (user["enabled"] == true, user["signed_in_at"].as_i64()) {
        (false, _) => "disabled".to_owned(),
        (true, Some(at)) => format!("signed in {}", time(Some(at))),
        (true, None) => "never signed in".to_owned(),
    };
    format!("{:<20} {:<7} {state} · {}", text("name"), text("role"), text("id"))
}

impl One {
    async fn invite(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/users/{}/invitation", user_id(&client, &self.name).await?);
        let invited = client.call(Method::POST, &path, Some(&json!({}))).await?;
        print_link(&client, invited, &self.output)
    }

    async fn switch(self, config: Config, enabled: bool) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/users/{}", user_id(&client, &self.name).await?);
        client.call(Method::PATCH, &path, Some(&json!({ "enabled": enabled }))).await?;
        eprintln!("{} may {}sign in", self.name, if enabled { "" } else { "not " });
        Ok(ExitCode::SUCCESS)
    }

    async fn delete(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/users/{}", user_id(&client, &self.name).await?);
        client.call(Method::DELETE, &path, None).await?;
        eprintln!("{} is gone", self.name);
        Ok(ExitCode::SUCCESS)
    }
}

impl Role {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = json!({ "role": self.role });
        let Some(app) = &self.app else {
            let path = format!("/users/{}", user_id(&client, &self.name).await?);
            client.call(Method::PATCH, &path, Some(&body)).await?;
            eprintln!("{} is {} of the instance", self.name, self.role);
            return Ok(ExitCode::SUCCESS);
        };
        let path = format!("/apps/{}/members/{}", encode(app), encode(&self.name));
        if self.role == "none" {
            client.call(Method::DELETE, &path, None).await?;
            eprintln!("{} is no member of {app} any more", self.name);
        } else {
            client.call(Method::PUT, &path, Some(&body)).await?;
            eprintln!("{} is {} of {app}", self.name, self.role);
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_line() {
        let user = json!({"id": "0198", "name": "ada", "role": "member", "enabled": true, "signed_in_at": null});
        assert_eq!(line(&user), "ada                  member  never signed in · 0198");
    }
}
