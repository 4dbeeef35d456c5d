//! The conformance suite of the store: every test runs on a fresh SQLite database and on a fresh
//! PostgreSQL database, with the same result.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use picloud_testing::{database, on_both_databases};

mod apps;
mod blocks;
mod cancelling;
mod clock;
mod commit;
mod definitions;
mod domains;
mod events;
mod executions;
mod fixtures;
mod following;
mod handover;
mod identity;
mod leases;
mod lifecycle;
mod parts;
mod recording;
mod recovery;
mod routes;
mod schema;
mod scripts;
mod secrets;
mod sessions;
mod settings;
mod statistics;
mod storage;
mod text;
mod triggers;
mod writes;
