//! A seeded program that feeds events of every sort to a server and kills it, again and
//! again on one database, at random moments and at the named points; on PostgreSQL two
//! servers share the work, and one is also stopped for longer than its leases last.
//!
//! `PICLOUD_CHAOS_KILLS` and `PICLOUD_CHAOS_SEED` say how many kills and which; the
//! seed decides what is sent and when it is killed, the machine what that meets.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use picloud::faults::{CrashAt, Point};
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::{Database, Kind};
use crate::ledger::Ledger;
use crate::load::{APP, Load, Random, set_up};
use crate::server::{Server, signal};

/// How often a server is killed on SQLite, and which part of that on PostgreSQL, where
/// one has to wait for leases.
const KILLS: u64 = 50;
const POSTGRES_PART: u64 = 4;
/// Who sends at once.
const LANES: u64 = 6;
/// A point that is not passed by then is not waited for any longer.
const ACCEPTED_MAX: usize = 150;
/// The longest wait for a random moment.
const MOMENT_US_MAX: u64 = 60_000;

/// When a server dies.
#[derive(Debug)]
enum Moment {
    /// When so many more events were accepted.
    Accepted(usize),
    /// So much later, µs.
    Later(u64),
    /// By itself.
    Point(CrashAt),
}

impl Moment {
    fn random(random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self::Accepted(1 + random.below(60) as usize),
            1 => Self::Later(random.below(MOMENT_US_MAX)),
            _ => {
                let point = Point::ALL[random.below(4) as usize];
                Self::Point(CrashAt { point, count: 1 + random.below(20) })
            }
        }
    }
}

crate::on_both_databases! {
    async fn nothing_accepted_is_lost_and_nothing_is_done_twice(database) {
        let kills = number("PICLOUD_CHAOS_KILLS").unwrap_or(KILLS);
        let kills = if database.kind == Kind::Postgres { kills / POSTGRES_PART } else { kills };
        let seed = number("PICLOUD_CHAOS_SEED").unwrap_or_else(any_seed);
        println!("PICLOUD_CHAOS_SEED={seed} PICLOUD_CHAOS_KILLS={kills} on {:?}", database.kind);
        Chaos::start(database, seed).await.run(kills).await;
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// Another one each time; it is printed, to be set again.
fn any_seed() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970");
    u64::from(std::process::id()) << 32 | u64::from(now.subsec_nanos())
}

struct Chaos<'a> {
    database: &'a Database,
    data: TempDir,
    random: Random,
    ledger: Ledger,
    load: Load,
    /// On PostgreSQL the one that lives on while another dies.
    second: Option<Server>,
}

fn start(data: &Path, database: &Database, crash_at: Option<&CrashAt>) -> Server {
    let crash_at = crash_at.map(ToString::to_string).unwrap_or_default();
    let variables = [
        ("PICLOUD_CRASH_AT", &*crash_at),
        ("PICLOUD_EVENT_LEASE_MS", "500"),
        // A caller whose event another node has taken waits in vain.
        ("PICLOUD_REPLY_WAIT_MS", "500"),
        // Every kill costs attempts, and no event may be given up because of it.
        ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1000"),
        ("PICLOUD_TRIGGER_RETRY_BASE_MS", "1"),
    ];
    Server::start_on(data, database, &variables)
}

impl<'a> Chaos<'a> {
    async fn start(database: &'a Database, seed: u64) -> Self {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        let server = start(data.path(), database, None);
        set_up(&server).await;
        drop(server);
        let second = (database.kind == Kind::Postgres).then(|| start(data.path(), database, None));
        Self {
            database,
            random: Random(seed),
            ledger: Ledger::open(database).await,
            load: Load::default(),
            second,
            data,
        }
    }

    async fn run(mut self, kills: u64) {
        for kill in 0..kills {
            let moment = Moment::random(&mut self.random);
            let crash_at = if let Moment::Point(at) = &moment { Some(at) } else { None };
            let mut server = start(self.data.path(), self.database, crash_at);
            self.load_and_kill(&mut server, &moment).await;
            let wrong = self.ledger.wrong_counters(APP).await;
            assert!(wrong.is_empty(), "after kill {kill} at {moment:?}: {wrong:?}");
        }
        let last = start(self.data.path(), self.database, None);
        self.ledger.settled(APP).await;
        // Also what is late has ended when they have.
        assert_eq!(last.stop(), Some(0));
        if let Some(second) = self.second.take() {
            assert_eq!(second.stop(), Some(0));
        }
        self.load.check(&mut self.ledger).await;
    }

    /// Lets the lanes loose and kills the server in the middle of it.
    async fn load_and_kill(&mut self, server: &mut Server, moment: &Moment) {
        let over = AtomicBool::new(false);
        let pid = server.pid();
        let begun = self.load.accepted();
        let stopped = self.random.below(6) == 0;
        let lanes = futures::stream::FuturesUnordered::new();
        for lane in 0..LANES {
            let random = Random(self.random.next());
            let server = match &self.second {
                Some(second) if lane % 2 == 1 => second,
                _ => &*server,
            };
            lanes.push(self.load.send_until(server, random, &over));
        }
        let (load, second, ledger) = (&self.load, &self.second, &mut self.ledger);
        let killer = async {
            let enough = match moment {
                Moment::Accepted(count) => *count,
                Moment::Later(us) => {
                    tokio::time::sleep(Duration::from_micros(*us)).await;
                    0
                }
                Moment::Point(_) => ACCEPTED_MAX,
            };
            while load.accepted() < begun + enough && is_alive(pid) {
                tokio::task::yield_now().await;
            }
            if second.is_some() && stopped && signal(pid, "-STOP").await {
                ledger.leases_have_run_out().await;
                signal(pid, "-CONT").await;
                // What it had in hand is late now; it may come to its commit.
                tokio::task::yield_now().await;
            }
            // The process is ours and is waited for below.
            signal(pid, "-KILL").await;
            over.store(true, Ordering::Relaxed);
        };
        futures::future::join(futures::StreamExt::collect::<Vec<()>>(lanes), killer).await;
        server.kill();
    }
}

/// Whether there is such a process that has not ended.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
