//! `kill -9` under load, repeatedly on one database: acknowledged changes survive, and only the
//! newest executions can be missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::compiled_guest;
use crate::server::Server;

/// The number of kills.
const KILLS: u64 = 6;
/// The number of concurrent callers and creators.
const CALLERS: usize = 8;
const CREATORS: usize = 4;
/// The number of responses that can be noted between an execution's response and its own note: on a
/// busy machine, one caller waits for the processor while others continue. It is much less than the
/// number of responses between two kills.
const OVERTAKEN_MAX: usize = 32 * CALLERS;

/// Everything that the server has acknowledged.
#[derive(Default)]
struct Answered {
    /// Paths of the API, and the expected content.
    definitions: Mutex<Vec<(String, &'static str, Value)>>,
    /// Executions in the order of their responses, since the last start.
    executions: Mutex<Vec<String>>,
    creations: AtomicUsize,
}

crate::on_both_databases! {
    async fn what_was_answered_survives_being_killed(database) {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        let answered = Arc::new(Answered::default());
        for kill in 0..KILLS {
            let mut server = Server::start_on(data.path(), database, &[]);
            check(&server, &answered, kill).await;
            if kill == 0 {
                server.create("/apps", json!({"name": "called"})).await.unwrap();
                let script = json!({"name": "one", "source": "1"});
                server.create("/apps/called/scripts", script).await.unwrap();
            }
            // Each kill is at another moment in the life of the server.
            let creations = 10 + usize::try_from(kill).unwrap() * 13;
            load_and_kill(&mut server, &answered, creations).await;
        }
        check(&Server::start_on(data.path(), database, &[]), &answered, KILLS).await;
    }
}

/// Starts callers and creators, and kills the server while they run.
async fn load_and_kill(server: &mut Server, answered: &Arc<Answered>, creations: usize) {
    answered.executions.lock().await.clear();
    let enough = answered.creations.load(Ordering::Relaxed) + creations;
    let here = &*server;
    let load = async {
        let lanes = futures::stream::FuturesUnordered::new();
        for _ in 0..CALLERS {
            lanes.push(futures::future::Either::Left(call_until_it_dies(here, answered)));
        }
        for lane in 0..CREATORS {
            lanes.push(futures::future::Either::Right(create_until_it_dies(here, answered, lane)));
        }
        futures::StreamExt::collect::<Vec<()>>(lanes).await;
    };
    let pid = here.pid().to_string();
    let killer = async {
        while answered.creations.load(Ordering::Relaxed) < enough {
            picloud_testing::pause().await;
        }
        // The process is ours, and the test waits for it below.
        let killed = tokio::process::Command::new("kill").args(["-KILL", &pid]).status().await;
        assert!(killed.unwrap().success());
    };
    futures::future::join(load, killer).await;
    server.kill();
}

async fn call_until_it_dies(server: &Server, answered: &Answered) {
    while let Ok((status, id)) = server.call("/x/called/one").await {
        assert_eq!(status, 200);
        answered.executions.lock().await.push(id.unwrap());
    }
}

/// Creates apps, each with a script of two versions and a route.
async fn create_until_it_dies(server: &Server, answered: &Answered, lane: usize) {
    loop {
        let number = answered.creations.fetch_add(1, Ordering::Relaxed);
        let app = format!("app-{lane}-{number}");
        if create_app(server, answered, &app).await.is_none() {
            return;
        }
    }
}

async fn create_app(server: &Server, answered: &Answered, app: &str) -> Option<()> {
    let keep = async |path: String, field, value| {
        answered.definitions.lock().await.push((path, field, value));
    };
    server.create("/apps", json!({"name": app})).await?;
    keep(format!("/apps/{app}"), "name", json!(app)).await;
    let script = json!({"name": "script", "source": "1"});
    let script = server.create(&format!("/apps/{app}/scripts"), script).await?;
    let id = script["id"].as_str().expect("an id").to_owned();
    keep(format!("/scripts/{id}/versions/1"), "source", json!("1")).await;
    let changed = json!({"source": "2"});
    let (status, _) = server.admin("PUT", &format!("/scripts/{id}"), &changed).await.ok()?;
    assert_eq!(status, 200);
    keep(format!("/scripts/{id}"), "version", json!(2)).await;
    keep(format!("/scripts/{id}"), "source", json!("2")).await;
    let route = json!({"script_id": id, "method": "GET", "path": "/r/{x}"});
    let route = server.create(&format!("/apps/{app}/routes"), route).await?;
    let route = route["id"].as_str().expect("an id").to_owned();
    keep(format!("/routes/{route}"), "script_id", json!(id)).await;
    Some(())
}

/// Checks that everything is there. Only the newest executions can be missing: if one is missing,
/// none with a much later response is there.
async fn check(server: &Server, answered: &Answered, kills: u64) {
    for (path, field, value) in answered.definitions.lock().await.iter() {
        let found = server.find(path).await;
        assert_eq!(&found[field], value, "after {kills} kills, {path}: {found}");
    }
    let executions = answered.executions.lock().await;
    let mut found = Vec::new();
    for id in executions.iter() {
        found.push(server.find(&format!("/executions/{id}")).await["id"] == json!(id));
    }
    let missing = found.iter().position(|found| !found).unwrap_or(found.len());
    let last = found.iter().rposition(|found| *found).map_or(0, |last| last + 1);
    assert!(
        last <= missing + OVERTAKEN_MAX,
        "after {kills} kills execution {missing} of {} is missing, but {last} is there",
        found.len()
    );
    let begun_ms = |index: usize| executions.get(index).map_or(0, |id| begun_ms(id));
    let newest_ms = (0..found.len()).map(begun_ms).max().unwrap_or(0);
    println!(
        "after {kills} kills: {} of {} executions missing, the oldest begun {} ms before the last",
        found.iter().filter(|found| !**found).count(),
        found.len(),
        if missing < found.len() { newest_ms - begun_ms(missing) } else { 0 },
    );
}

/// Returns when an execution began, in milliseconds, from its id (RFC 9562, section 5.7).
fn begun_ms(id: &str) -> u64 {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    u64::from_str_radix(&digits, 16).unwrap()
}
