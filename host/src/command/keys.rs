//! `picloud keys`: the API keys that programs use.

use std::process::ExitCode;

use picloud::auth::Scope;
use picloud::config::Config;
use picloud::manager::api::{ApiKey, CreateApiKey, NewApiKey};

use super::client::{Ignored, encode};
use super::output::{Output, Paging, print_page};
use super::time::time;
use super::{Failure, Server};

/// Commands for keys.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud keys create 'deploys from CI' --scope script:read --scope script:write --app demo
  picloud keys list
  picloud keys revoke 01980000-0000-7000-8000-000000000000

Scopes: script:read, script:write, route:write, domain:manage, app:admin, log:read,
instance:admin. A key never has more rights than its owner.")]
pub(super) enum KeysCommand {
    /// Create a key and print it; it is not shown again
    Create(Create),
    /// List keys, without their secret parts
    List(List),
    /// Revoke a key: it stops working at once
    Revoke(Revoke),
}

impl KeysCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::Create(create) => create.run(config).await,
            Self::List(list) => list.run(config).await,
            Self::Revoke(revoke) => revoke.run(config).await,
        }
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    let all = Scope::ALL.map(Scope::as_str).join(", ");
    Scope::of(text).ok_or_else(|| format!("a scope is one of {all}"))
}

/// The key to create.
#[derive(clap::Args)]
pub(super) struct Create {
    /// A name that says what the key is for
    name: String,
    /// A scope of the key; can be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// The only app that the key can be used in
    #[arg(long)]
    app: Option<String>,
    /// Lifetime in days [default: the key never expires]
    #[arg(long, value_name = "DAYS")]
    days: Option<i64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// Filters for the list.
#[derive(clap::Args)]
pub(super) struct List {
    /// List the keys of all users
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The key to revoke.
#[derive(clap::Args)]
pub(super) struct Revoke {
    /// The key's id, as `keys list` prints it
    id: String,
    #[command(flatten)]
    server: Server,
}

impl Create {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let new = CreateApiKey {
            name: self.name,
            scopes: self.scopes.into_iter().collect(),
            app: self.app,
            expires_in_days: self.days,
        };
        let made = client.post::<NewApiKey>("/keys", &new).await?;
        self.output.print(&made, &made.value.key)?;
        eprintln!("This is the key. It is not shown again.");
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/keys?limit={}&all={}", self.paging.limit, self.all);
        print_page(&client.list(&path).await?, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(key: &ApiKey) -> String {
    let at = |at: Option<i64>| at.map_or("never".to_owned(), time);
    let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
    format!(
        "{}… {} · {} · {} · expires {} · last used {} · {}",
        key.prefix,
        key.name,
        scopes.join(" "),
        key.app.as_ref().map_or("all apps".to_owned(), |app| format!("app {app}")),
        at(key.expires_at),
        at(key.last_used_at),
        key.id,
    )
}

impl Revoke {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&format!("/keys/{}", encode(&self.id))).await?;
        eprintln!("revoked: it no longer works");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_line_without_what_is_secret() {
        let key = ApiKey {
            id: "0198".to_owned(),
            name: "CI".to_owned(),
            prefix: "pck_1f2e3d4c5b6a".to_owned(),
            scopes: vec![Scope::ScriptRead.into(), Scope::LogRead.into()],
            app: None,
            owner: "ada".to_owned(),
            expires_at: Some(0),
            last_used_at: None,
            created_at: 0,
        };
        assert_eq!(
            line(&key),
            "pck_1f2e3d4c5b6a… CI · script:read log:read · all apps · \
             expires 1970-01-01T00:00:00.000Z · last used never · 0198"
        );
    }

    #[test]
    fn a_scope_that_there_is_not_is_refused_with_those_that_there_are() {
        assert_eq!(scope("log:read"), Ok(Scope::LogRead));
        assert!(scope("log:write").unwrap_err().contains("log:read"));
    }
}
