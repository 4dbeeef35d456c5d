//! The `picloud` binary: the server and the command line.

mod command;

use std::process::ExitCode;

use clap::Parser;
use picloud::config::Config;

use command::{Command, EXIT_USAGE};

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
