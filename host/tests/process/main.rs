//! The real binary as a process: how it starts, how it stops, what survives when it
//! is killed, loses its database or stands still, and what a crowd does to it.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

mod backup;
mod caddy;
mod chaos;
mod clocks;
mod cluster;
mod command;
mod command_apps;
mod command_entries;
mod command_runs;
#[path = "../support/compiled_guest.rs"]
mod compiled_guest;
mod crash;
mod crowd;
#[path = "../support/database.rs"]
mod database;
mod disk;
mod drain;
mod follow;
mod forms;
mod frozen;
#[path = "../support/gate.rs"]
mod gate;
mod http;
mod instance;
mod keeper;
mod kinds;
mod leaks;
mod ledger;
mod load;
mod network;
mod outage;
mod poison;
mod proxy;
mod readme;
mod saturation;
mod secrets;
mod server;
mod shell;
mod sign_in;
mod start;
mod storm;
mod telling;
