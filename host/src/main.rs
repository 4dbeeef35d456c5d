//! The `picloud` binary: the server and the command line.

mod command;

use std::process::ExitCode;

use clap::Parser;
use picloud::config::Config;

use command::{Command, EXIT_USAGE};

/// See `docs/decisions/0036-the-allocator-is-jemalloc.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    match Config::from_env() {
        Ok(loaded) => command.run(loaded).await,
        Err(wrong) => {
            for value in &wrong.0 {
                eprintln!("error: {value}");
            }
            ExitCode::from(EXIT_USAGE)
        }
    }
}
