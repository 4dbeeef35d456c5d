//! The previous release fills a data folder, and this release opens it: `make upgrade`.
//!
//! `PICLOUD_UPGRADE_FROM` is the program of the previous release, which `.ci/upgrade` builds.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use picloud_testing::{database, on_both_databases, server};

mod filled;

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::database::{Database, Kind};
use crate::server::{OWNER_KEY, Server, picloud};

/// The settings that both releases start with.
fn configured(mut command: Command, data: &Path, database: &Database) -> Command {
    let url = match database.kind {
        Kind::Sqlite => database.url.to_string(),
        Kind::Postgres => database.plain_url.clone(),
    };
    command
        .env_clear()
        .env("PICLOUD_DATA", data)
        .env("PICLOUD_LISTEN", "127.0.0.1:0")
        .env("PICLOUD_OWNER_KEY", OWNER_KEY)
        .env("PICLOUD_DATABASE_URL", url);
    command
}

on_both_databases! {
    async fn what_the_release_before_has_stored_works(database) {
        let program = std::env::var_os("PICLOUD_UPGRADE_FROM").expect("run by `make upgrade`");
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();

        let before = Server::spawn(configured(Command::new(&program), data.path(), database));
        let filled = filled::fill(&before).await;
        filled.check(&before).await;
        assert_eq!(before.stop(), Some(0));

        let after = Server::spawn(configured(picloud(data.path()), data.path(), database));
        filled.check(&after).await;
        filled.use_everything(&after).await;
        assert_eq!(after.stop(), Some(0));

        // A second start: the upgrade is not repeated.
        let again = Server::spawn(configured(picloud(data.path()), data.path(), database));
        filled.check(&again).await;
        assert_eq!(again.stop(), Some(0));
    }
}
