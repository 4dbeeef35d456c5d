//! A seeded program that sends events of every kind to a server and disturbs it repeatedly, on one
//! database, at random moments and at the named points:
//!
//! - the server is killed, or told to stop;
//! - on PostgreSQL, where two servers share the work, a server is also frozen or disconnected for
//!   longer than its leases, loses responses to its COMMITs, or misses the other's notifications.
//!
//! Afterwards the whole history must be consistent: every accepted event is done once or is a dead
//! letter, and no wake-up was lost ([`Load::check`]).
//!
//! `PICLOUD_CHAOS_KILLS` and `PICLOUD_CHAOS_SEED` set the number of ends and the seed. The seed
//! decides what is sent and what is disturbed; the machine decides the timing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use picloud::faults::{CrashAt, Point};
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::{Database, Kind};
use crate::ledger::Ledger;
use crate::load::{APP, Load, Random, set_up};
use crate::proxy::{Fault, Proxy};
use crate::server::{Server, signal};

/// The number of server ends, on each database.
const KILLS: u64 = 30;
/// The number of concurrent senders.
const LANES: u64 = 6;
/// The number of accepted events after which a point that is not passed is given up.
const ACCEPTED_MAX: usize = 150;
/// The longest wait for a random moment, µs.
const MOMENT_US_MAX: u64 = 60_000;

/// The moment when a server dies.
#[derive(Debug)]
enum Moment {
    /// After this number of further accepted events.
    Accepted(usize),
    /// After this time, µs.
    Later(u64),
    /// After this time, µs, by a signal to stop.
    Stop(u64),
    /// At this point, by itself.
    Point(CrashAt),
}

impl Moment {
    fn random(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::Accepted(1 + random.below(60) as usize),
            1 => Self::Later(random.below(MOMENT_US_MAX)),
            2 => Self::Stop(random.below(MOMENT_US_MAX)),
            _ => {
                let point = Point::ALL[random.below(4) as usize];
                let (count, stops) = (1 + random.below(20), random.below(3) == 0);
                Self::Point(CrashAt { point, count, stops })
            }
        }
    }
}

crate::on_both_databases! {
    async fn nothing_accepted_is_lost_and_nothing_is_done_twice(database) {
        let kills = number("PICLOUD_CHAOS_KILLS").unwrap_or(KILLS);
        let seed = number("PICLOUD_CHAOS_SEED").unwrap_or_else(any_seed);
        println!("PICLOUD_CHAOS_SEED={seed} PICLOUD_CHAOS_KILLS={kills} on {:?}", database.kind);
        Chaos::start(database, seed).await.run(kills).await;
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// Returns a new seed each time. It is printed, so that it can be set again.
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
    /// On PostgreSQL, the server that runs on while another ends.
    second: Option<Server>,
    /// The proxy between the ending server and PostgreSQL.
    proxy: Option<Proxy>,
}

fn start(data: &Path, database: &Database, crash_at: Option<&CrashAt>) -> Server {
    let crash_at = crash_at.map(ToString::to_string).unwrap_or_default();
    let variables = [
        ("PICLOUD_CRASH_AT", &*crash_at),
        ("PICLOUD_EVENT_LEASE_MS", "500"),
        // If another node takes the event, its caller waits until this timeout.
        ("PICLOUD_REPLY_WAIT_MS", "500"),
        // Every kill costs attempts, and must not create dead letters.
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
        let is_shared = database.kind == Kind::Postgres;
        let second = is_shared.then(|| start(data.path(), database, None));
        let proxy = if is_shared { Some(Proxy::start(database).await) } else { None };
        Self {
            proxy,
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
            let database = self.proxy.as_ref().map_or(self.database, |proxy| &proxy.database);
            let mut server = start(self.data.path(), database, crash_at);
            let fault = self.fault();
            self.load_and_kill(&mut server, &moment, fault).await;
            let wrong = self.ledger.wrong_counters(APP).await;
            assert!(wrong.is_empty(), "after kill {kill} at {moment:?}, {fault:?}: {wrong:?}");
        }
        let last = start(self.data.path(), self.database, None);
        self.ledger.settled(APP).await;
        // When both have stopped, late runs have ended too.
        assert_eq!(last.stop(), Some(0));
        if let Some(second) = self.second.take() {
            assert_eq!(second.stop(), Some(0));
        }
        self.load.check(&mut self.ledger).await;
    }

    /// Returns the network fault during the life of the next server.
    fn fault(&mut self) -> Fault {
        match self.random.below(8) {
            0 => Fault::LosesCommits(2 + self.random.below(8) as usize),
            1 => Fault::Silent,
            2 => Fault::Deaf,
            _ => Fault::None,
        }
    }

    /// Starts the lanes, and ends the server while they run.
    async fn load_and_kill(&mut self, server: &mut Server, moment: &Moment, fault: Fault) {
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
        let proxy = &self.proxy;
        let killer = async {
            // `Silent` begins later: otherwise it would last until a timeout.
            if let Some(proxy) = proxy.as_ref().filter(|_| fault != Fault::Silent) {
                proxy.set(fault);
            }
            let enough = match moment {
                Moment::Accepted(count) => *count,
                Moment::Later(us) | Moment::Stop(us) => {
                    tokio::time::sleep(Duration::from_micros(*us)).await;
                    0
                }
                Moment::Point(_) => ACCEPTED_MAX,
            };
            while load.accepted() < begun + enough && is_alive(pid) {
                picloud_testing::pause().await;
            }
            if let Some(proxy) = proxy
                && fault == Fault::Silent
            {
                proxy.set(Fault::Silent);
                ledger.leases_have_run_out().await;
                proxy.set(Fault::None);
                tokio::task::yield_now().await;
            }
            if second.is_some() && stopped && signal(pid, "-STOP").await {
                ledger.leases_have_run_out().await;
                signal(pid, "-CONT").await;
                // Its claimed events are late now; their runs may still reach the commit.
                tokio::task::yield_now().await;
            }
            // The process is ours, and the test waits for it below.
            match moment {
                Moment::Stop(_) => ends(pid).await,
                Moment::Point(at) if at.stops => ends(pid).await,
                _ => drop(signal(pid, "-KILL").await),
            }
            if let Some(proxy) = proxy {
                proxy.set(Fault::None);
            }
            over.store(true, Ordering::Relaxed);
        };
        futures::future::join(futures::StreamExt::collect::<Vec<()>>(lanes), killer).await;
        server.kill();
    }
}

/// Tells a process to stop, and waits at most a minute until it has.
async fn ends(pid: u32) {
    signal(pid, "-TERM").await;
    let begun = std::time::Instant::now();
    while is_alive(pid) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the server does not stop");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Whether the process exists and has not ended.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
