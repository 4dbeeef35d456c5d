//! `picloud master-key`.

use std::process::ExitCode;

use picloud::clock::Clock;
use picloud::config::Config;
use picloud::instance;
use picloud::secrets::{Rotated, rotate};
use picloud::store::Store;
use serde_json::json;

use super::Failure;
use super::detail::Output;

/// What to do with the key.
#[derive(clap::Subcommand)]
pub(super) enum MasterKeyCommand {
    /// Put all secrets under another master key
    ///
    /// Without PICLOUD_MASTER_KEY a new key takes the place of the one in the data folder.
    /// With it, secrets under PICLOUD_MASTER_KEY_PREVIOUS are put under it, as the next
    /// start would do. No value is changed. It works in the database, so it has to run
    /// where the server's settings lead to the server's data, and the server has to be
    /// stopped: it would go on with the old key.
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
        eprintln!("the master key {key_id} has all secrets; {secrets} were put under it");
        Ok(ExitCode::SUCCESS)
    }
}
