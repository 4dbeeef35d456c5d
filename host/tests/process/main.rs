//! The real binary as a process: starting, stopping, surviving a kill, a database outage and a
//! freeze, and many concurrent callers.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use picloud_testing::{compiled_guest, database, gate, on_both_databases, server};

mod backup;
mod caddy;
mod chaos;
mod clocks;
mod cluster;
mod command;
mod command_apps;
mod command_entries;
mod command_runs;
mod crash;
mod crowd;
mod disk;
mod drain;
mod follow;
mod forms;
mod frozen;
mod http;
mod instance;
mod keeper;
mod kinds;
mod leaks;
mod ledger;
mod load;
mod network;
mod outage;
mod pages;
mod poison;
mod proxy;
mod readme;
mod saturation;
mod secrets;
mod shell;
mod sign_in;
mod start;
mod storm;
mod telling;
