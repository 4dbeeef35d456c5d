//! Backups under load: everything that was acknowledged before a backup began is in the restored
//! database, whatever happened meanwhile.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::Either;
use futures::stream::FuturesUnordered;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::{Database, Kind, with_fresh_database};
use crate::keeper::{self, Keeper, Kept};
use crate::ledger::Ledger;
use crate::load::{APP, Load, Random, set_up};
use crate::server::{Server, picloud};

/// The number of backups while the server runs.
const BACKUPS: usize = 2;
/// The number of concurrent senders of events, and of clients that create and change resources.
const SENDERS: u64 = 4;
const KEEPERS: usize = 2;
/// The number of events accepted before each backup.
const ACCEPTED: usize = 60;

const SETTINGS: [(&str, &str); 3] = [
    ("PICLOUD_EVENT_LEASE_MS", "500"),
    ("PICLOUD_REPLY_WAIT_MS", "500"),
    ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1000"),
];

/// The data that a backup must contain.
struct Before {
    kept: Kept,
    load: Load,
}

crate::on_both_databases! {
    async fn what_was_answered_before_a_backup_began_is_restored(database) {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        let backups = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = Server::start_on(data.path(), database, &SETTINGS);
        set_up(&server).await;
        keeper::set_up(&server).await;
        let (load, keeper, over) = (Load::default(), Keeper::default(), AtomicBool::new(false));
        let lanes = FuturesUnordered::new();
        for lane in 0..SENDERS {
            lanes.push(Either::Left(load.send_until(&server, Random(lane), &over)));
        }
        for lane in 0..KEEPERS {
            lanes.push(Either::Right(keeper.work(&server, lane, &over)));
        }
        let mut before = Vec::new();
        let maker = async {
            for number in 0..BACKUPS {
                more_is_answered(&load, &keeper).await;
                before.push((keeper.kept(), load.names()));
                let dest = backups.path().join(number.to_string());
                back_up(data.path(), database, &dest).await;
            }
            // The server continues to work.
            more_is_answered(&load, &keeper).await;
            over.store(true, Ordering::Relaxed);
        };
        futures::future::join(lanes.collect::<Vec<()>>(), maker).await;
        assert_eq!(server.stop(), Some(0));
        for (number, (kept, names)) in before.into_iter().enumerate() {
            let before = Before { kept, load: load.with_only(names) };
            let source = backups.path().join(number.to_string());
            with_fresh_database(database.kind, async |new: &Database| {
                restored(&source, new, &before).await;
            })
            .await;
        }
    }
}

/// Waits, at most a minute, until more requests have succeeded.
async fn more_is_answered(load: &Load, keeper: &Keeper) {
    let (begun, enough) = (Instant::now(), load.accepted() + ACCEPTED);
    while load.accepted() < enough || !keeper.kept().is_enough(KEEPERS) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the load does not continue");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a command on this data folder and database.
async fn run(data: &Path, database: &Database, arguments: [&str; 2]) -> Output {
    let url = match database.kind {
        Kind::Sqlite => database.url.to_string(),
        Kind::Postgres => database.plain_url.clone(),
    };
    let mut command = picloud(data);
    command.env("PICLOUD_DATABASE_URL", url);
    // The commands need the path of PostgreSQL's programs.
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(arguments);
    tokio::process::Command::from(command).output().await.unwrap()
}

#[track_caller]
fn done(ended: &Output) {
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    println!("{}", said.trim());
}

async fn back_up(data: &Path, database: &Database, dest: &Path) {
    done(&run(data, database, ["backup", dest.to_str().unwrap()]).await);
}

/// Restores a backup and starts a server on it. Checks that all data is there, that the open events
/// are then done, and that a second restore is refused.
async fn restored(source: &Path, database: &Database, before: &Before) {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let arguments = ["restore", source.to_str().unwrap()];
    done(&run(data.path(), database, arguments).await);
    let again = run(data.path(), database, arguments).await;
    assert_eq!(again.status.code(), Some(1), "{again:?}");

    let server = Server::start_on(data.path(), database, &SETTINGS);
    let mut ledger = Ledger::open(database).await;
    ledger.settled(APP).await;
    before.kept.check(&server, &mut ledger).await;
    assert_eq!(server.stop(), Some(0));
    before.load.check(&mut ledger).await;
}
