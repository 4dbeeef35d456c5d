//! Runs every list, count and periodic query of the store over full tables. None reads more rows
//! than a page is allowed to examine, on either database.
//!
//! On PostgreSQL the server reports how many rows each step of each statement has read
//! (`auto_explain`); on SQLite the test checks the plans. With `PICLOUD_SCALE_ROWS=1000000` (`make
//! scale`) the tables have that many rows, and each list is timed too.
//!
//! A separate test binary, because the listener records the statements of the whole process.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use picloud_testing::{database, on_both_databases};

mod cases;
mod fill;
mod listener;
mod plans;

use std::time::{Duration, Instant};

use picloud::store::{Error, Readers, Settings, Store};
use tokio::sync::Mutex;

use database::{Database, Kind};
use fill::Filled;
use plans::Explainer;

/// Rows of each table: several times the number that a page examines.
const ROWS: u64 = 60_000;

/// The time limit for a list, when it is timed.
const LIST_MAX: Duration = Duration::from_millis(50);

/// A list is timed this many times. The best time counts, because other work slows the machine.
const TIMES: usize = 5;

/// Returns the number of rows, and whether the lists are timed.
fn scale() -> (u64, bool) {
    let given = std::env::var("PICLOUD_SCALE_ROWS").ok();
    let rows = given.as_ref().map(|rows| rows.parse().expect("a number of rows"));
    (rows.unwrap_or(ROWS), given.is_some())
}

/// Runs each case, and reports which read too much or took too long.
struct Examination {
    kind: Kind,
    store: Store,
    explainer: Explainer,
    is_timed: bool,
    wrong: Vec<String>,
}

impl Examination {
    async fn start(database: &Database) -> (Self, Filled) {
        let (rows, is_timed) = scale();
        plans::prepare(database).await;
        let readers = Readers { scripts: 1, admin: 1 };
        let store = Store::open_with(&database.url, Settings { readers, ..Settings::default() })
            .await
            .unwrap()
            .for_admin();
        let filled = fill::fill(database, &store, rows).await;
        let explainer = Explainer::connect(database).await;
        let kind = database.kind;
        (Self { kind, store, explainer, is_timed, wrong: Vec::new() }, filled)
    }

    async fn of<T>(&mut self, name: &str, list: impl AsyncFn(&Store) -> Result<T, Error>) {
        listener::forget();
        list(&self.store).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        // PostgreSQL's message about a statement arrives with the next one of the connection.
        self.store.ping_writes().await.unwrap();
        let heard = listener::heard();
        assert!(!heard.is_empty(), "{name}: no statement was heard");
        for reason in self.explainer.wrong(&heard).await {
            self.wrong.push(format!("{name}: {reason}"));
        }
        if !self.is_timed {
            return;
        }
        let mut best = Duration::MAX;
        for _ in 0..TIMES {
            let begun = Instant::now();
            list(&self.store).await.unwrap();
            best = best.min(begun.elapsed());
        }
        println!("{:?}  {:>8.2} ms  {name}", self.kind, best.as_secs_f64() * 1e3);
        if best > LIST_MAX {
            self.wrong.push(format!("{name}: took {best:?}"));
        }
    }
}

async fn examine(database: &Database) {
    // The recorder serves one database at a time.
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _alone = ALONE.lock().await;
    listener::start();
    let (mut examination, filled) = Examination::start(database).await;
    cases::all(&mut examination, &filled).await;
    let wrong = &examination.wrong;
    assert!(wrong.is_empty(), "{} of the lists:\n{}", wrong.len(), wrong.join("\n"));
}

on_both_databases! {
    async fn no_list_reads_more_than_a_page_may_look_at(database) {
        examine(database).await;
    }
}
