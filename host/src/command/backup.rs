//! `picloud backup` and `picloud restore`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use picloud::backup::{Manifest, MasterKeyOf, back_up, back_up_without_master_key, restore};
use picloud::clock::Clock;
use picloud::config::Config;
use serde_json::json;

use super::Failure;
use super::output::Output;

/// The most lost files that are printed; the manifest lists all.
const NAMED_MAX: usize = 20;

#[derive(clap::Args)]
pub(super) struct Backup {
    /// The folder to create; it must not exist
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// Omit the master key, so that the backup alone cannot decrypt secrets
    ///
    /// Keep the key elsewhere: without it, nothing can decrypt the backup's secrets.
    #[arg(long)]
    without_master_key: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(clap::Args)]
pub(super) struct Restore {
    /// The folder that `picloud backup` created
    #[arg(value_name = "SRC")]
    source: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Backup {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let clock = Clock::system();
        let made = if self.without_master_key {
            back_up_without_master_key(config, &clock, &self.dest).await
        } else {
            back_up(config, &clock, &self.dest).await
        };
        let made = made.map_err(Failure::new)?;
        show(&made, &self.dest, &self.output)?;
        Ok(report(&made, "backed up"))
    }
}

impl Restore {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let restored = restore(config, &self.source).await.map_err(Failure::new)?;
        show(&restored, &config.data, &self.output)?;
        Ok(report(&restored, "restored"))
    }
}

/// Prints the folder and, as JSON, its contents.
fn show(manifest: &Manifest, folder: &Path, output: &Output) -> Result<(), Failure> {
    let Manifest { database, files, files_bytes, lost, .. } = manifest;
    let folder = folder.display().to_string();
    let copy = json!({
        "folder": folder,
        "database": database,
        "files": files,
        "files_bytes": files_bytes,
        "lost": lost.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    output.print(&copy, &folder)
}

/// Reports the contents and the missing files. An incomplete backup is better than none, but must
/// not be mistaken for a complete one.
fn report(manifest: &Manifest, done: &str) -> ExitCode {
    let Manifest { database, files, files_bytes, lost, .. } = manifest;
    eprintln!("{done}: the {database} database, and {files} files with {files_bytes} bytes");
    if manifest.master_key == MasterKeyOf::Environment {
        eprintln!(
            "the master key is not in the backup, because it is in PICLOUD_MASTER_KEY: without \
             that key the backup's secrets cannot be decrypted"
        );
    }
    if manifest.master_key == MasterKeyOf::LeftOut {
        eprintln!(
            "the master key is not in the backup: without master.key of the data folder its \
             secrets cannot be decrypted; before the restored server starts, put it back or set \
             PICLOUD_MASTER_KEY"
        );
    }
    if lost.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {} files have no content; everything else is {done}:", lost.len());
    for file in lost.iter().take(NAMED_MAX) {
        eprintln!("  {file}");
    }
    if lost.len() > NAMED_MAX {
        eprintln!("  and {} more", lost.len() - NAMED_MAX);
    }
    ExitCode::FAILURE
}
