//! `picloud keys`: what programs call with.

use std::process::ExitCode;

use picloud::auth::Scope;
use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::encode;
use super::detail::{Output, Paging, print_page, time};
use super::{Failure, Server};

/// What to do with keys.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud keys create 'deploys from CI' --scope script:read --scope script:write --app demo
  picloud keys list
  picloud keys revoke 01980000-0000-7000-8000-000000000000

Scopes: script:read, script:write, route:write, domain:manage, app:admin, log:read,
instance:admin. A key never may more than whoever has made it.")]
pub(super) enum KeysCommand {
    /// Make a key and print it; it is not shown again
    Create(Create),
    /// Print the keys that there are, without what is secret about them
    List(List),
    /// Revoke a key: it is refused from then on
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

/// A key to be made.
#[derive(clap::Args)]
pub(super) struct Create {
    /// What it is for
    name: String,
    /// What it may be used for; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// The one app that it may be used in
    #[arg(long)]
    app: Option<String>,
    /// For how many days it is good; for ever if left out
    #[arg(long, value_name = "DAYS")]
    days: Option<i64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// Which keys.
#[derive(clap::Args)]
pub(super) struct List {
    /// Those of everybody
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which key.
#[derive(clap::Args)]
pub(super) struct Revoke {
    /// Its id, which `keys list` prints
    id: String,
    #[command(flatten)]
    server: Server,
}

impl Create {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = json!({
            "name": self.name,
            "scopes": self.scopes,
            "app": self.app,
            "expires_in_days": self.days,
        });
        let made = client.call(Method::POST, "/keys", Some(&body)).await?;
        self.output.print(&made, made["key"].as_str().unwrap_or_default())?;
        eprintln!("This is the key. It is not shown again.");
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/keys?limit={}&all={}", self.paging.limit, self.all);
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(key: &Value) -> String {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    let at = |name: &str| key[name].as_i64().map(|at| time(Some(at)));
    let scopes = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    format!(
        "{}… {} · {} · {} · expires {} · last used {} · {}",
        text("prefix"),
        text("name"),
        scopes.collect::<Vec<_>>().join(" "),
        key["app"].as_str().map_or("all apps".to_owned(), |app| format!("app {app}")),
        at("expires_at").unwrap_or("never".to_owned()),
        at("last_used_at").unwrap_or("never".to_owned()),
        text("id"),
    )
}

impl Revoke {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        client.call(Method::DELETE, &format!("/keys/{}", encode(&self.id)), None).await?;
        eprintln!("revoked: it is refused from now on");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_line_without_what_is_secret() {
        let key = json!({
            "id": "0198", "name": "CI", "prefix": "pck_1f2e3d4c5b6a", "app": null,
            "scopes": ["script:read", "log:read"], "expires_at": 0, "last_used_at": null,
        });
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
