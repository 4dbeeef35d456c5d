//! A seeded program that feeds events of every sort to a server and kills it, again and
//! again on one database, at random moments and at the named points; on PostgreSQL two
//! servers share the work, and one is also stopped for longer than its leases last.
//!
//! What must hold: an event that was accepted is done once or is one dead letter; one
//! that nobody knows of is done once or not at all.
//!
//! `PICLOUD_CHAOS_KILLS` and `PICLOUD_CHAOS_SEED` say how many kills and which; the
//! seed decides what is sent and when it is killed, the machine what that meets.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use picloud::faults::{CrashAt, Point};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::{Database, Kind};
use crate::ledger::Ledger;
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

const APP: &str = "chaos";

/// What is sent. Each has a name of its own, under which its handler counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Queue,
    Topic,
    Script,
    Durable,
    Async,
    Key,
    File,
    /// Fails until it is a dead letter, of which a handler is told.
    Failing,
}

const SORTS: [Sort; 8] = [
    Sort::Queue,
    Sort::Topic,
    Sort::Script,
    Sort::Durable,
    Sort::Async,
    Sort::Key,
    Sort::File,
    Sort::Failing,
];

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed, the same numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

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

/// What the servers have said yes to.
#[derive(Default)]
struct Sent {
    accepted: Mutex<BTreeSet<(Sort, String)>>,
    count: AtomicUsize,
    next: AtomicU64,
}

crate::on_both_databases! {
    async fn nothing_accepted_is_lost_and_nothing_is_done_twice(database) {
        let number = |name: &str| std::env::var(name).ok().map(|value| value.parse().unwrap());
        let kills = number("PICLOUD_CHAOS_KILLS").unwrap_or(KILLS);
        let kills = if database.kind == Kind::Postgres { kills / POSTGRES_PART } else { kills };
        let seed = number("PICLOUD_CHAOS_SEED").unwrap_or_else(|| {
            u64::from(std::process::id()) << 32 | u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos())
        });
        println!("PICLOUD_CHAOS_SEED={seed} PICLOUD_CHAOS_KILLS={kills} on {:?}", database.kind);
        Chaos::start(database, seed).await.run(kills).await;
    }
}

struct Chaos<'a> {
    database: &'a Database,
    data: TempDir,
    random: Random,
    ledger: Ledger,
    sent: Sent,
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
            sent: Sent::default(),
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
        self.check(kills).await;
    }

    /// Lets the lanes loose and kills the server in the middle of it.
    async fn load_and_kill(&mut self, server: &mut Server, moment: &Moment) {
        let over = AtomicBool::new(false);
        let pid = server.pid();
        let begun = self.sent.count.load(Ordering::Relaxed);
        let stopped = self.random.below(6) == 0;
        let lanes = futures::stream::FuturesUnordered::new();
        for lane in 0..LANES {
            let random = Random(self.random.next());
            let server = match &self.second {
                Some(second) if lane % 2 == 1 => second,
                _ => &*server,
            };
            lanes.push(send_until(server, &self.sent, random, &over));
        }
        let (sent, second, ledger) = (&self.sent, &self.second, &mut self.ledger);
        let killer = async {
            let enough = match moment {
                Moment::Accepted(count) => *count,
                Moment::Later(us) => {
                    tokio::time::sleep(Duration::from_micros(*us)).await;
                    0
                }
                Moment::Point(_) => ACCEPTED_MAX,
            };
            while sent.count.load(Ordering::Relaxed) < begun + enough && is_alive(pid) {
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

    async fn check(&mut self, kills: u64) {
        let accepted = self.sent.accepted.lock().unwrap().clone();
        let (effects, told) =
            (self.ledger.counters(APP, "effects").await, self.ledger.counters(APP, "told").await);
        assert!(effects.values().chain(told.values()).all(|count| *count == 1), "more than once");
        for (sort, name) in &accepted {
            let (done, buried) = (effects.contains_key(name), told.contains_key(name));
            let expected = (*sort != Sort::Failing, *sort == Sort::Failing);
            assert_eq!((done, buried), expected, "{sort:?} {name} was accepted");
        }
        // What is not among the accepted was under way at a kill.
        let unsure = effects.len() + told.len() - accepted.len();
        assert!(unsure as u64 <= kills * LANES, "{unsure} effects of what was never sent");
        let letters = self.ledger.dead_letters(APP).await;
        let handled = [("handled_by_script".to_owned(), told.len() as i64)];
        assert_eq!(letters, handled.into(), "dead letters");
        let successes = self.ledger.successes(APP).await;
        assert!(successes.values().all(|count| *count == 1), "two runs were acknowledged");
        assert_eq!(successes.len(), effects.len() + told.len(), "a run without its effect");
        let shared = self.ledger.counters(APP, "shared").await;
        let asyncs = effects.keys().filter(|name| name.starts_with("Async")).count();
        assert_eq!(shared.get("n").copied().unwrap_or(0), asyncs as i64, "an update was lost");
        for sort in SORTS {
            let of_sort = accepted.iter().filter(|(of, _)| *of == sort).count();
            println!("{of_sort} {sort:?} accepted and settled");
        }
        println!("{kills} kills, {unsure} events settled that nobody was told of");
    }
}

/// Handlers, and what leads to them.
async fn set_up(server: &Server) {
    let made = async |path: &str, body: Value| {
        let made = server.create(path, body).await.unwrap_or_else(|| panic!("{path}"));
        made["id"].as_str().unwrap().to_owned()
    };
    made("/apps", json!({"name": APP})).await;
    let (scripts, triggers) = (format!("/apps/{APP}/scripts"), format!("/apps/{APP}/triggers"));
    let deploy = async |name: &str, source: &str| {
        made(&scripts, json!({"name": name, "source": source})).await
    };
    let count = |name: &str| format!(r#"kv::collection("effects").increment({name});"#);
    for (name, on, by) in [
        ("queue", json!({"kind": "queue", "queue": "q"}), "ctx.event.queue.payload"),
        ("topic", json!({"kind": "pubsub", "topic": "t"}), "ctx.event.pubsub.payload"),
        ("key", json!({"kind": "kv", "collection": "keys"}), "ctx.event.kv.key"),
        ("file", json!({"kind": "files", "bucket": "b", "path": "*"}), "ctx.event.files.path"),
    ] {
        let handler = deploy(name, &count(by)).await;
        made(&triggers, json!({"script_id": handler, "on": on})).await;
    }
    deploy("work", &count("ctx.event.script.payload")).await;
    deploy("set", r#"kv::collection("keys").set(ctx.request.query.id, 1)"#).await;
    deploy("put", r#"files::bucket("b").put(ctx.request.query.id, "x")"#).await;
    deploy("enqueue", r#"scripts::enqueue("work", ctx.request.query.id)"#).await;
    let fail = deploy(
        "fail",
        r#"kv::collection("effects").increment(ctx.event.queue.payload); throw "no""#,
    )
    .await;
    let on = json!({"kind": "queue", "queue": "broken"});
    let retry = json!({"attempts_max": 2, "base_ms": 0});
    made(&triggers, json!({"script_id": fail, "on": on, "retry": retry})).await;
    let told = r#"kv::collection("told").increment(ctx.event.dead_letter.event.queue.payload)"#;
    let told = deploy("told", told).await;
    made(&triggers, json!({"script_id": told, "on": {"kind": "dead_letter"}})).await;
    for delivery in ["durable", "async"] {
        let mut source = count("ctx.request.query.id");
        if delivery == "async" {
            // All want the same key: whoever comes second runs again.
            source += r#"kv::collection("shared").increment("n");"#;
        }
        let script = deploy(delivery, &source).await;
        let route = json!({
            "script_id": script, "method": "POST", "path": format!("/in/{delivery}"),
            "delivery": delivery,
        });
        made(&format!("/apps/{APP}/routes"), route).await;
    }
}

/// Sends one after the other until the server dies or it is over.
async fn send_until(server: &Server, sent: &Sent, mut random: Random, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let sort = SORTS[random.below(SORTS.len() as u64) as usize];
        let name = format!("{sort:?}-{}", sent.next.fetch_add(1, Ordering::Relaxed));
        let Ok(status) = send(server, sort, &name).await else { return };
        if (200..300).contains(&status) {
            sent.accepted.lock().unwrap().insert((sort, name));
            sent.count.fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(status, 503, "{name}");
        }
    }
}

async fn send(server: &Server, sort: Sort, name: &str) -> reqwest::Result<u16> {
    let message = match sort {
        Sort::Queue => json!({"queue": "q", "payload": name}),
        Sort::Topic => json!({"topic": "t", "payload": name}),
        Sort::Failing => json!({"queue": "broken", "payload": name}),
        Sort::Script | Sort::Durable | Sort::Async | Sort::Key | Sort::File => {
            let path = match sort {
                Sort::Durable => "in/durable",
                Sort::Async => "in/async",
                Sort::Key => "set",
                Sort::File => "put",
                _ => "enqueue",
            };
            let path = format!("/x/{APP}/{path}?id={name}");
            return Ok(server.post(&path, &Value::Null).await?.0);
        }
    };
    Ok(server.admin("POST", &format!("/apps/{APP}/events"), &message).await?.0)
}

/// Whether there is such a process that has not ended.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
