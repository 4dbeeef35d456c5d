//! `picloud apps`: lists, creates, renames and deletes apps.

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{App, AppInFull, AppStorage, CreateApp, StorageUse, UpdateApp};

use super::client::{Ignored, encode, query};
use super::consent::Consent;
use super::output::{Output, Paging, print_one, print_page};
use super::rows::Rows;
use super::{Failure, Server};

/// Commands for apps.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud apps create demo --description 'to try things'
  picloud apps list
  picloud apps show demo                its storage, and its limits
  picloud apps rename demo shop         changes its URLs too
  picloud apps delete shop --yes")]
pub(super) enum AppsCommand {
    /// List apps
    List(List),
    /// Create an app
    Create(Create),
    /// Show an app with its storage
    Show(Show),
    /// Rename an app, which changes its URLs
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

/// Filters for the list.
#[derive(clap::Args)]
pub(super) struct List {
    /// Only apps with this text in their name or description
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The app to create.
#[derive(clap::Args)]
pub(super) struct Create {
    /// The app's name, a part of its URLs
    name: String,
    /// The description
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    server: Server,
}

/// The app to show.
#[derive(clap::Args)]
pub(super) struct Show {
    /// The app
    app: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// The app and its new name.
#[derive(clap::Args)]
pub(super) struct Rename {
    /// The app
    app: String,
    /// The new name
    name: String,
    #[command(flatten)]
    server: Server,
}

/// The app to delete.
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
        let search = query(&[("q", self.search.as_deref())]);
        let page = client.list(&format!("/apps?limit={}{search}", self.paging.limit)).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(App { name, description, .. }: &App) -> String {
    if description.is_empty() { name.clone() } else { format!("{name} · {description}") }
}

impl Create {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let Self { name, description, .. } = self;
        let created = client.post::<App>("/apps", &CreateApp { name, description }).await?;
        eprintln!("created: {}", created.value.name);
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let app = client.get(&path(&self.app)).await?;
        print_one(&app, self.output.json, rows(&app.value))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(AppInFull { app, storage, .. }: &AppInFull) -> Rows {
    let AppStorage { entries, entry_bytes, files, file_bytes, events, event_bytes } = storage;
    let of_limit = |StorageUse { used, most }: &StorageUse| format!("{used} of at most {most}");
    Rows::default()
        .text("id", &app.id)
        .text("name", &app.name)
        .text("description", &app.description)
        .text("entries", of_limit(entries))
        .text("entry_bytes", of_limit(entry_bytes))
        .text("files", of_limit(files))
        .text("file_bytes", of_limit(file_bytes))
        .text("events", of_limit(events))
        .text("event_bytes", of_limit(event_bytes))
        .time("created_at", app.created_at)
        .time("updated_at", app.updated_at)
}

impl Rename {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let change = UpdateApp { name: Some(self.name), description: None };
        let app = client.patch::<App>(&path(&self.app), &change).await?.value;
        eprintln!("renamed: its URLs now begin with {}/x/{}/", client.full_url(""), app.name);
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let app = &self.app;
        self.consent.check(&format!("deletes the app {app} with its scripts, data and events"))?;
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&path(app)).await?;
        eprintln!("deleted: {app}");
        Ok(ExitCode::SUCCESS)
    }
}
