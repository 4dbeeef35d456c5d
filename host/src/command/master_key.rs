//! `picloud master-key`: rotates the key that encrypts all secrets.

use std::process::ExitCode;

use picloud::clock::Clock;
use picloud::config::Config;
use picloud::instance;
use picloud::secrets::{Rotated, rotate};
use picloud::store::Store;
use serde_json::json;

use super::Failure;
use super::output::Output;

/// Commands for the master key.
#[derive(clap::Subcommand)]
pub(super) enum MasterKeyCommand {
    /// Encrypt all secrets with another master key
    ///
    /// Without PICLOUD_MASTER_KEY, a new key replaces the one in the data folder. If
    /// PICLOUD_MASTER_KEY is set, it replaces PICLOUD_MASTER_KEY_PREVIOUS as the key of all
    /// secrets, as it would at the next start. No value changes. It works on the database directly,
    /// so run it with the server's settings and stop the server first: a running server would
    /// continue with the old key.
    Rotate(Output),
}

impl MasterKeyCommand {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let Self::Rotate(output) = self;
        let url = config.database_url().map_err(Failure::new)?;
        let unavailable = |error| Failure(format!("the database {url}: {error}"));
        instance::check_used(&url, &config.data).await.map_err(Failure::new)?;
        let store = Store::open(&url).await.map_err(unavailable)?;
        let rotated = rotate(&store, &Clock::system(), &config.key_settings()).await;
        store.close().await.map_err(unavailable)?;
        let Rotated { key_id, secrets } = rotated.map_err(Failure::new)?;
        let made = json!({ "key_id": key_id, "secrets": secrets });
        output.print(&made, &key_id)?;
        eprintln!("all secrets use the master key {key_id}; {secrets} were re-encrypted");
        Ok(ExitCode::SUCCESS)
    }
}
