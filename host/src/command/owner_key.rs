//! `picloud owner-key`.

use std::process::ExitCode;

use picloud::auth::Auth;
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::instance;
use picloud::store::Store;
use serde_json::json;

use super::Failure;
use super::detail::Output;

/// What to do with the key.
#[derive(clap::Subcommand)]
pub(super) enum OwnerKeyCommand {
    /// Make a new owner key and print it, because the old one was lost
    ///
    /// It works in the database, so it has to run where the server's PICLOUD_DATA
    /// or PICLOUD_DATABASE_URL lead to. The old key ends at once, with the keys, the sessions
    /// and the invitations that were made with it.
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
            "PICLOUD_OWNER_KEY is set, and the next start would put it back; change it there",
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
            eprintln!("This is the owner key from now on. It is not shown again.");
            Ok(ExitCode::SUCCESS)
        }
        None => Err(Failure(format!(
            "the database {url} has no owner key yet; the first start of `picloud serve` makes one"
        ))),
    }
}
