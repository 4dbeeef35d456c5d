//! A thousand concurrent callers on 64 slots.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use picloud::App;
use picloud::clock::Clock;
use picloud::config::Config;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Barrier;
use tower::ServiceExt;

use crate::compiled_guest;
use crate::server::OWNER_KEY;

const CALLERS: usize = 1_000;
const SLOTS: usize = 64;
/// The number of repetitions; a leak would occur in each.
const ROUNDS: usize = 3;
/// The memory that the allocator and the pool can keep after a round. It is far below the size of a
/// thousand leaked requests or sandboxes.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_of_a_crowd_gets_an_answer_or_is_told_when_to_come_again() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    // A timeout so short that some callers are refused on any machine.
    let variables = [
        ("PICLOUD_DATA", data.path().to_str().unwrap()),
        ("PICLOUD_OWNER_KEY", OWNER_KEY),
        ("PICLOUD_MAX_CONCURRENCY", "64"),
        ("PICLOUD_MAX_QUEUED", "500"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.into()));
    let app = App::build(&Config::read(variables).unwrap().config, Clock::system()).await.unwrap();
    admin(&app, "/api/v1/apps", json!({"name": "app"})).await;
    let source = "let sum = 0; for i in 0..20000 { sum += i; } sum";
    admin(&app, "/api/v1/apps/app/scripts", json!({"name": "busy", "source": source})).await;

    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut resident = Vec::new();
    for round in 0..ROUNDS {
        let (answered, turned_away) = crowd(&app).await;
        println!("round {round}: {answered} answered, {turned_away} told to come again");
        assert!(answered >= SLOTS, "callers with a slot get a response");
        let slots = app.executor.slots();
        assert_eq!((slots.in_use, slots.waiting), (0, 0), "a slot is still in use");
        app.store.flush().await.unwrap();
        resident.push(resident_bytes());
    }
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(left <= tasks, "{left} tasks are alive, {tasks} were before");
    let growth = resident[ROUNDS - 1].saturating_sub(resident[0]);
    assert!(growth < GROWTH_BYTES_MAX, "resident memory grew by {growth} bytes: {resident:?}");
    app.store.close().await.unwrap();
}

/// Sends all calls at once. Returns the numbers of responses and of refusals.
async fn crowd(app: &App) -> (usize, usize) {
    let together = Arc::new(Barrier::new(CALLERS));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (front, together) = (app.front.clone(), Arc::clone(&together));
        callers.spawn(async move {
            together.wait().await;
            let request = Request::get("/x/app/busy").body(Body::empty()).unwrap();
            let answer = front.oneshot(request).await.unwrap();
            match answer.status() {
                StatusCode::OK => {
                    let body = to_bytes(answer.into_body(), 1024).await.unwrap();
                    assert_eq!(body, "199990000");
                    true
                }
                StatusCode::SERVICE_UNAVAILABLE => {
                    assert!(answer.headers().contains_key("retry-after"));
                    false
                }
                other => panic!("{other}"),
            }
        });
    }
    let answers = callers.join_all().await;
    let answered = answers.iter().filter(|answered| **answered).count();
    (answered, answers.len() - answered)
}

async fn admin(app: &App, path: &str, body: serde_json::Value) {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {OWNER_KEY}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    assert_eq!(app.front.clone().oneshot(request).await.unwrap().status(), 201);
}

/// Returns the resident memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = line.trim().split(' ').next().unwrap().parse().unwrap();
    kib * 1024
}
