//! PostgreSQL's own programs, which copy and restore a database.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::{Failed, Result};
use crate::store::DatabaseUrl;

/// Writes the database as of `moment` into a file, replacing an existing one.
pub(super) async fn dump(url: &DatabaseUrl, moment: &str, file: &Path) -> Result<()> {
    let mut command = program("pg_dump", url);
    command.args(["--format=custom", "--snapshot", moment, "--file"]).arg(file);
    run("pg_dump", command).await
}

/// Fills an empty database from such a file, completely or not at all.
pub(super) async fn restore(url: &DatabaseUrl, file: &Path) -> Result<()> {
    let mut command = program("pg_restore", url);
    command.args(["--single-transaction", "--exit-on-error"]).arg(file);
    run("pg_restore", command).await
}

fn program(name: &str, url: &DatabaseUrl) -> Command {
    let libpq = url.libpq();
    let mut command = Command::new(name);
    // The target database decides who owns the tables.
    command.args(["--no-password", "--no-owner", "--no-privileges", "--dbname", &libpq.url]);
    // Not an argument, which other users of the machine could see.
    command.envs(libpq.password.map(|password| ("PGPASSWORD", password)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(name: &str, mut command: Command) -> Result<()> {
    match command.output().await {
        Ok(ended) if ended.status.success() => Ok(()),
        Ok(ended) => {
            let said = String::from_utf8_lossy(&ended.stderr);
            Err(Failed(format!("{name} failed: {}", said.trim())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failed(format!(
            "{name} is missing: install PostgreSQL's client programs, in the server's version or \
             newer"
        ))),
        Err(error) => Err(Failed(format!("{name}: {error}"))),
    }
}
