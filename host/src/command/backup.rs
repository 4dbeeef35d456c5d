//! `picloud backup` and `picloud restore`.

use std::path::PathBuf;
use std::process::ExitCode;

use picloud::backup::{Manifest, MasterKeyOf, back_up, restore};
use picloud::clock::Clock;
use picloud::config::Config;

use super::{Failure, print};

/// How many lost files are named; the manifest has them all.
const NAMED_MAX: usize = 20;

#[derive(clap::Args)]
pub(super) struct Backup {
    /// The folder to make; it must not exist
    #[arg(value_name = "DEST")]
    dest: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct Restore {
    /// The folder that `picloud backup` has made
    #[arg(value_name = "SRC")]
    source: PathBuf,
}

impl Backup {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let made = back_up(config, &Clock::system(), &self.dest).await.map_err(Failure::new)?;
        print(format!("{}\n", self.dest.display()))?;
        Ok(report(&made, "backed up"))
    }
}

impl Restore {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let restored = restore(config, &self.source).await.map_err(Failure::new)?;
        print(format!("{}\n", config.data.display()))?;
        Ok(report(&restored, "restored"))
    }
}

/// Says what there is, and what there is not: a backup of which something is missing is
/// better than none, but nobody should take it for a whole one.
fn report(manifest: &Manifest, done: &str) -> ExitCode {
    let Manifest { database, files, files_bytes, lost, .. } = manifest;
    eprintln!("{done}: the {database} database, and files: {files}, of {files_bytes} bytes");
    if manifest.master_key == MasterKeyOf::Environment {
        eprintln!(
            "the master key is not in the backup, because it is in PICLOUD_MASTER_KEY: without \
             that key its secrets cannot be opened"
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
