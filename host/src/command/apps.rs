//! `picloud apps`: the spaces in which scripts live.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::encode;
use super::consent::Consent;
use super::detail::{Output, Paging, print_one, print_page};
use super::events::query;
use super::{Failure, Server};

/// What to do with apps.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud apps create demo --description 'to try things'
  picloud apps list
  picloud apps show demo                what it keeps, and how much it may keep
  picloud apps rename demo shop         its URLs change with it
  picloud apps delete shop --yes")]
pub(super) enum AppsCommand {
    /// Print the apps
    List(List),
    /// Make an app
    Create(Create),
    /// Print an app with what it keeps
    Show(Show),
    /// Give an app another name; its URLs change with it
    Rename(Rename),
    /// Delete an app with its scripts, data and events
    Delete(Delete),
}

impl AppsCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Create(create) => create.run(config).await,
            Self::Show(show) => show.run(config).await,
            Self::Rename(rename) => rename.run(config).await,
            Self::Delete(delete) => delete.run(config).await,
        }
    }
}

/// Which apps.
#[derive(clap::Args)]
pub(super) struct List {
    /// Only those with this text in the name or the description
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// An app to be made.
#[derive(clap::Args)]
pub(super) struct Create {
    /// Its name, a part of its URLs
    name: String,
    /// What it is for
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    server: Server,
}

/// Which app to print.
#[derive(clap::Args)]
pub(super) struct Show {
    /// The app
    app: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// Which app, and its new name.
#[derive(clap::Args)]
pub(super) struct Rename {
    /// The app
    app: String,
    /// Its new name
    name: String,
    #[command(flatten)]
    server: Server,
}

/// Which app to delete.
#[derive(clap::Args)]
pub(super) struct Delete {
    /// The app
    app: String,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    server: Server,
}

fn path(app: &str) -> String {
    format!("/apps/{}", encode(app))
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let search = query(&[("q", self.search)]);
        let path = format!("/apps?limit={}{search}", self.paging.limit);
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(app: &Value) -> String {
    let text = |name: &str| app[name].as_str().unwrap_or_default();
    match text("description") {
        "" => text("name").to_owned(),
        description => format!("{} · {description}", text("name")),
    }
}

impl Create {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = json!({ "name": self.name, "description": self.description });
        client.call(Method::POST, "/apps", Some(&body)).await?;
        eprintln!("created: {}", self.name);
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let mut app = client.call(Method::GET, &path(&self.app), None).await?;
        if !self.output.json {
            for (name, kept) in app["storage"].clone().as_object().into_iter().flatten() {
                app[name] = json!(format!("{} of at most {}", kept["used"], kept["most"]));
            }
        }
        let members = [
            "id",
            "name",
            "description",
            "entries",
            "entry_bytes",
            "files",
            "file_bytes",
            "events",
            "event_bytes",
            "created_at",
            "updated_at",
        ];
        print_one(&app, self.output.json, &members)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Rename {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = json!({ "name": self.name });
        client.call(Method::PATCH, &path(&self.app), Some(&body)).await?;
        eprintln!("renamed: its URLs begin with {}/x/{}/ now", client.full_url(""), self.name);
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let app = &self.app;
        self.consent.check(&format!("deletes the app {app} with its scripts, data and events"))?;
        let client = self.server.client(config)?;
        client.call(Method::DELETE, &path(app), None).await?;
        eprintln!("deleted: {app}");
        Ok(ExitCode::SUCCESS)
    }
}
