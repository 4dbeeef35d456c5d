//! `picloud owner-key`: replaces a lost owner key.

use std::process::ExitCode;

use picloud::auth::Auth;
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::instance;
use picloud::store::Store;
use serde_json::json;

use super::Failure;
use super::output::Output;

/// Commands for the owner key.
#[derive(clap::Subcommand)]
pub(super) enum OwnerKeyCommand {
    /// Create and print a new owner key, if the old one is lost
    ///
    /// It works on the database directly, so run it with the server's PICLOUD_DATA or
    /// PICLOUD_DATABASE_URL. The old key stops working at once, with the keys, the sessions and the
    /// invitations created with it.
    Reset(Output),
}

impl OwnerKeyCommand {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        match self {
            Self::Reset(output) => reset(config, &output).await,
        }
    }
}

async fn reset(config: &Config, output: &Output) -> Result<ExitCode, Failure> {
    if config.owner_key.is_some() {
        return Err(Failure::new(
            "PICLOUD_OWNER_KEY is set, and the next start would restore it; change the variable",
        ));
    }
    let url = config.database_url().map_err(Failure::new)?;
    let unavailable = |error| Failure(format!("the database {url}: {error}"));
    instance::check_used(&url, &config.data).await.map_err(Failure::new)?;
    let store = Store::open(&url).await.map_err(unavailable)?;
    let key = Auth::reset(&store, &Clock::system()).await;
    store.close().await.map_err(unavailable)?;
    match key.map_err(|error| Failure(format!("the database {url}: {error}")))? {
        Some(key) => {
            output.print(&json!({ "owner_key": key.reveal() }), key.reveal())?;
            eprintln!("This is the new owner key. It is not shown again.");
            Ok(ExitCode::SUCCESS)
        }
        None => Err(Failure(format!(
            "the database {url} has no owner key yet; the first start of `picloud serve` creates one"
        ))),
    }
}
