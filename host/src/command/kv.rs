//! `picloud kv`: the keys of an app's collections.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::encode;
use super::consent::Consent;
use super::data::read_json;
use super::detail::{Output, Paging, print_page, time};
use super::entries::{Place, Range, delete_all, place_line};
use super::{Failure, Server, print};

/// What to do with keys.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud kv collections demo
  picloud kv list demo/orders --prefix 2026- --limit 500
  picloud kv get demo/orders 2026-7
  picloud kv set demo/orders 2026-7 --data '{\"item\": 1}' --ttl-ms 60000
  picloud kv delete demo/orders 2026-7
  picloud kv delete demo/orders --prefix 2025- --yes

Triggers that listen to a collection hear of changes by this command, as of a script's.")]
pub(super) enum KvCommand {
    /// Print an app's collections
    Collections(Collections),
    /// Print the keys of a collection, in the order of their bytes
    List(List),
    /// Print the value of a key as JSON
    Get(Get),
    /// Set a key
    Set(Set),
    /// Delete a key, or many
    Delete(Delete),
}

impl KvCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::Collections(collections) => collections.run(config).await,
            Self::List(list) => list.run(config).await,
            Self::Get(get) => get.run(config).await,
            Self::Set(set) => set.run(config).await,
            Self::Delete(delete) => delete.run(config).await,
        }
    }
}

/// Whose collections.
#[derive(clap::Args)]
pub(super) struct Collections {
    /// The app
    app: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which keys.
#[derive(clap::Args)]
pub(super) struct List {
    /// The collection
    #[arg(value_name = "APP/COLLECTION")]
    collection: Place,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    server: Server,
}

/// Which key.
#[derive(clap::Args)]
pub(super) struct Get {
    /// The collection
    #[arg(value_name = "APP/COLLECTION")]
    collection: Place,
    /// The key
    #[arg(value_name = "KEY", id = "name")]
    key: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// A key and its value.
#[derive(clap::Args)]
pub(super) struct Set {
    /// The collection
    #[arg(value_name = "APP/COLLECTION")]
    collection: Place,
    /// The key
    #[arg(value_name = "KEY", id = "name")]
    key: String,
    /// The value, as JSON: a text, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", allow_negative_numbers = true)]
    data: String,
    /// It expires after this many milliseconds
    #[arg(long, value_name = "N")]
    ttl_ms: Option<i64>,
    /// Set it only if it has this version; 0 if there must be no such key
    #[arg(long, value_name = "N")]
    if_version: Option<i64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// Which keys to delete.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
#[command(override_usage = "\
picloud kv delete [OPTIONS] <APP/COLLECTION> <KEY>
       picloud kv delete [OPTIONS] <APP/COLLECTION> --prefix <TEXT> --yes")]
pub(super) struct Delete {
    /// The collection
    #[arg(value_name = "APP/COLLECTION")]
    collection: Place,
    /// The key
    #[arg(value_name = "KEY", id = "name", group = "which")]
    key: Option<String>,
    /// All keys that begin so, '' for all; needs --yes
    #[arg(long, value_name = "TEXT", group = "which")]
    prefix: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Collections {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/kv?limit={}", encode(&self.app), self.paging.limit);
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, place_line)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        self.range.print(&client, &self.collection.path("kv"), line).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(entry: &Value) -> String {
    let name = entry["name"].as_str().unwrap_or_default();
    let expires = entry["expires_at"].as_i64().map(|at| format!(" · until {}", time(Some(at))));
    let value = match entry["value_is_left_out"] == true {
        true => format!("({} bytes)", entry["value_bytes"]),
        false => entry["value"].to_string(),
    };
    format!("{name}\t{value}{}", expires.unwrap_or_default())
}

impl Get {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = self.collection.entry_path("kv", &self.key);
        let entry = client.call(Method::GET, &path, None).await?;
        print(match self.output.json {
            true => format!("{entry:#}\n"),
            false => format!("{:#}\n", entry["value"]),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Set {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = json!({
            "value": read_json(&self.data)?,
            "ttl_ms": self.ttl_ms,
            "if_version": self.if_version,
        });
        let path = self.collection.entry_path("kv", &self.key);
        let set = client.call(Method::PUT, &path, Some(&body)).await?;
        if self.output.json {
            print(format!("{set:#}\n"))?;
        }
        eprintln!("set: {}, version {}", self.key, set["version"]);
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let Some(prefix) = self.prefix else {
            let client = self.server.client(config)?;
            let key = self.key.unwrap_or_default();
            client.call(Method::DELETE, &self.collection.entry_path("kv", &key), None).await?;
            eprintln!("deleted: {key}");
            return Ok(ExitCode::SUCCESS);
        };
        let Place { app, name } = &self.collection;
        self.consent
            .check(&format!("deletes all keys of {app}/{name} that begin with {prefix:?}"))?;
        let client = self.server.client(config)?;
        let deleted = delete_all(&client, "kv", &self.collection, &prefix).await?;
        self.output.print(&json!({ "deleted": deleted }), &deleted.to_string())?;
        eprintln!("keys were deleted");
        Ok(ExitCode::SUCCESS)
    }
}
