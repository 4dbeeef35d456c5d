//! Hostile scripts: each ends as its head says. Meanwhile a neighbour's calls are answered, and the
//! memory of the process stays bounded.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use picloud::limits::Limits;
use serde_json::json;

use crate::app::{SLOTS, TestApp};
use crate::cases::{cases_in, run};
use crate::with_an_app;

/// The number of hostile scripts that run at once; the neighbour has the other slots.
const HOSTILE_AT_ONCE: usize = SLOTS / 2;

/// The memory besides sandboxes, in bytes: caches, and the bodies of other tests.
const FIXED_BYTES: u64 = 512 << 20;

/// Resets the peak, and returns the memory that this process has now, in bytes (proc(5)). Earlier
/// tests in this process have left some memory.
fn resident_bytes_from_now() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    resident_bytes("VmRSS:")
}

/// Reads a line of the process's status, in bytes.
fn resident_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// The most memory of the sandboxes of all concurrent tests, in bytes.
fn sandboxes_bytes_max() -> u64 {
    let at_once = std::env::var("RUST_TEST_THREADS").ok().and_then(|threads| threads.parse().ok());
    let at_once = at_once.unwrap_or_else(|| std::thread::available_parallelism().unwrap().get());
    (at_once * SLOTS) as u64 * Limits::DEFAULT.memory_bytes_max
}

with_an_app! {
    async fn hostile_scripts_end_as_they_should_and_hurt_nobody(app) {
        app.admin().post("/apps", json!({"name": "cases"})).send().await.is(201);
        app.deploy("neighbour", "echo", "ctx.request.query.n").await;
        let over = AtomicBool::new(false);
        let before = resident_bytes_from_now();
        let hostile = async {
            let cases = cases_in("hostile");
            let complaints = futures::stream::iter(&cases).map(async |case| {
                let complaints = run(app, case).await;
                complaints
                    .into_iter()
                    .map(|complaint| format!("{}: {complaint}", case.name))
                    .collect::<Vec<_>>()
            });
            let wrong: Vec<_> = complaints.buffer_unordered(HOSTILE_AT_ONCE).concat().await;
            over.store(true, Ordering::Relaxed);
            wrong
        };
        let neighbour = async {
            let mut calls = 0_u64;
            while !over.load(Ordering::Relaxed) {
                let answer = app.get(&format!("/x/neighbour/echo?n={calls}")).send().await;
                assert_eq!(answer.is(200).json(), calls.to_string());
                calls += 1;
            }
            assert!(calls > 0);
        };
        let (wrong, ()) = tokio::join!(hostile, neighbour);
        let grown = resident_bytes("VmHWM:").saturating_sub(before);
        let most = sandboxes_bytes_max() + FIXED_BYTES;
        assert!(grown <= most, "{grown} bytes more were resident, {most} are allowed");
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
}
