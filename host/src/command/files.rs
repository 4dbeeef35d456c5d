//! `picloud files`: the files in an app's buckets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{File, FileEntry, FileFacts};
use serde_json::json;

use super::client::{Ignored, encode};
use super::consent::Consent;
use super::data::read_data;
use super::entries::{Place, Range, delete_all, place_line};
use super::output::{Output, Paging, print_page};
use super::time::time;
use super::{Failure, Server, print_bytes};

/// Commands for files.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud files buckets demo
  picloud files list demo/photos --prefix 2026/
  picloud files put demo/photos 2026/cat.jpg cat.jpg --content-type image/jpeg
  picloud files get demo/photos 2026/cat.jpg -o cat.jpg
  picloud files delete demo/photos 2026/cat.jpg
  picloud files delete demo/photos --prefix 2025/ --yes")]
pub(super) enum FilesCommand {
    /// List an app's buckets
    Buckets(Buckets),
    /// List the files of a bucket, in byte order of their paths
    List(List),
    /// Write a file's content to standard output, or to a file
    Get(Get),
    /// Store a local file, or standard input
    Put(Put),
    /// Delete a file, or many
    Delete(Delete),
}

impl FilesCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::Buckets(buckets) => buckets.run(config).await,
            Self::List(list) => list.run(config).await,
            Self::Get(get) => get.run(config).await,
            Self::Put(put) => put.run(config).await,
            Self::Delete(delete) => delete.run(config).await,
        }
    }
}

/// The list to print.
#[derive(clap::Args)]
pub(super) struct Buckets {
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
    /// The bucket
    #[arg(value_name = "APP/BUCKET")]
    bucket: Place,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    server: Server,
}

/// The file to read, and where to write its content.
#[derive(clap::Args)]
pub(super) struct Get {
    /// The bucket
    #[arg(value_name = "APP/BUCKET")]
    bucket: Place,
    /// The path in the bucket
    path: String,
    /// Write it to this file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// The file to store.
#[derive(clap::Args)]
pub(super) struct Put {
    /// The bucket
    #[arg(value_name = "APP/BUCKET")]
    bucket: Place,
    /// The path in the bucket
    path: String,
    /// The local file [default: standard input]
    file: Option<PathBuf>,
    /// The content type [default: application/octet-stream]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// The files to delete.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
#[command(override_usage = "\
picloud files delete [OPTIONS] <APP/BUCKET> <PATH>
       picloud files delete [OPTIONS] <APP/BUCKET> --prefix <TEXT> --yes")]
pub(super) struct Delete {
    /// The bucket
    #[arg(value_name = "APP/BUCKET")]
    bucket: Place,
    /// The path in the bucket
    #[arg(group = "which")]
    path: Option<String>,
    /// All paths that start with this text, '' for all; needs --yes
    #[arg(long, value_name = "TEXT", group = "which")]
    prefix: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Buckets {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/files?limit={}", encode(&self.app), self.paging.limit);
        print_page(&client.list(&path).await?, self.paging.json, place_line)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        self.range.print(&client, &self.bucket.path("files"), line).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(file: &FileEntry) -> String {
    let FileFacts { size_bytes, content_type, .. } = &file.value;
    format!("{} · {size_bytes} bytes · {content_type} · {}", file.name, time(file.updated_at))
}

impl Get {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let content = client.download(&self.bucket.entry_path("files", &self.path)).await?;
        match &self.output {
            None => print_bytes(&content)?,
            Some(file) => std::fs::write(file, &content)
                .map_err(|error| Failure(format!("cannot write {}: {error}", file.display())))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Put {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let content = match self.file.as_deref() {
            None => read_data("-")?,
            Some(file) if file == Path::new("-") => read_data("-")?,
            Some(file) => std::fs::read(file)
                .map_err(|error| Failure(format!("cannot read {}: {error}", file.display())))?,
        };
        let client = self.server.client(config)?;
        let path = self.bucket.entry_path("files", &self.path);
        let put = client.upload::<File>(&path, content, self.content_type.as_deref()).await?;
        self.output.print_json(&put)?;
        let File { size_bytes, version, .. } = put.value;
        eprintln!("stored: {}, {size_bytes} bytes, version {version}", self.path);
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let Some(prefix) = self.prefix else {
            let client = self.server.client(config)?;
            let path = self.path.unwrap_or_default();
            client.delete::<Ignored>(&self.bucket.entry_path("files", &path)).await?;
            eprintln!("deleted: {path}");
            return Ok(ExitCode::SUCCESS);
        };
        let Place { app, name } = &self.bucket;
        self.consent.check(&format!(
            "deletes all files of {app}/{name} whose paths start with {prefix:?}"
        ))?;
        let client = self.server.client(config)?;
        let deleted = delete_all(&client, "files", &self.bucket, &prefix).await?;
        self.output.print(&json!({ "deleted": deleted }), &deleted.to_string())?;
        eprintln!("files were deleted");
        Ok(ExitCode::SUCCESS)
    }
}
