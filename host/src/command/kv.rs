//! `picloud kv`: the keys in an app's collections.

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{Entry, Key, SetKey};
use serde_json::json;

use super::client::{Ignored, encode};
use super::consent::Consent;
use super::data::read_json;
use super::entries::{Place, Range, delete_all, place_line};
use super::output::{Output, Paging, pretty, print_one, print_page};
use super::time::time;
use super::{Failure, Server};

/// Commands for keys.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud kv collections demo
  picloud kv list demo/orders --prefix 2026- --limit 500
  picloud kv get demo/orders 2026-7
  picloud kv set demo/orders 2026-7 --data '{\"item\": 1}' --ttl-ms 60000
  picloud kv delete demo/orders 2026-7
  picloud kv delete demo/orders --prefix 2025- --yes

Changes by this command fire the collection's triggers, as changes by scripts do.")]
pub(super) enum KvCommand {
    /// List an app's collections
    Collections(Collections),
    /// List the keys of a collection, in byte order
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

/// The list to print.
#[derive(clap::Args)]
pub(super) struct Collections {
    /// The app
    app: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The list to print.
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

/// The key to read.
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
    /// Time to live in milliseconds
    #[arg(long, value_name = "N")]
    ttl_ms: Option<i64>,
    /// Set it only if the key has this version; 0 if it must not exist
    #[arg(long, value_name = "N")]
    if_version: Option<i64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// The keys to delete.
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
    /// All keys that start with this text, '' for all; needs --yes
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
        print_page(&client.list(&path).await?, self.paging.json, place_line)?;
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

fn line(entry: &Entry) -> String {
    let value = match entry.value_is_left_out {
        true => format!("({} bytes)", entry.value_bytes),
        false => entry.value.0.to_string(),
    };
    let expires = entry.expires_at.map(|at| format!(" · until {}", time(at)));
    format!("{}\t{value}{}", entry.name, expires.unwrap_or_default())
}

impl Get {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = self.collection.entry_path("kv", &self.key);
        let key = client.get::<Key>(&path).await?;
        print_one(&key, self.output.json, format!("{}\n", pretty(&key.value.value)?))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Set {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let value = read_json(&self.data)?;
        let set = SetKey { value, ttl_ms: self.ttl_ms, if_version: self.if_version };
        let path = self.collection.entry_path("kv", &self.key);
        let set = client.put::<Key>(&path, &set).await?;
        self.output.print_json(&set)?;
        eprintln!("set: {}, version {}", self.key, set.value.version);
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let Some(prefix) = self.prefix else {
            let client = self.server.client(config)?;
            let key = self.key.unwrap_or_default();
            client.delete::<Ignored>(&self.collection.entry_path("kv", &key)).await?;
            eprintln!("deleted: {key}");
            return Ok(ExitCode::SUCCESS);
        };
        let Place { app, name } = &self.collection;
        self.consent
            .check(&format!("deletes all keys of {app}/{name} that start with {prefix:?}"))?;
        let client = self.server.client(config)?;
        let deleted = delete_all(&client, "kv", &self.collection, &prefix).await?;
        self.output.print(&json!({ "deleted": deleted }), &deleted.to_string())?;
        eprintln!("keys were deleted");
        Ok(ExitCode::SUCCESS)
    }
}
