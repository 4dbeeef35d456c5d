//! Shared parts of the tests: servers, databases, and stand-ins for the outside.
//!
//! ```text
//! database        a fresh database of either kind
//! app             the whole server in this process, without its socket
//! server          the server as a process of its own
//! guest           the guest in its sandbox, without a store
//! compiled_guest  the interpreter, compiled once for all tests
//! dns, gate, stand_in   what scripts and servers call
//! statements      the statements of the database, to count them
//! ```

#![expect(clippy::expect_used, reason = "only tests use it, and may panic")]
#![expect(missing_docs, reason = "its users are the tests beside it")]

pub mod app;
pub mod compiled_guest;
pub mod database;
pub mod dns;
pub mod gate;
pub mod guest;
pub mod server;
pub mod stand_in;
pub mod statements;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Leaves the processor to the server until a test looks again for what it waits for. Never decides
/// anything: a test waits for a condition, not for a time.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// The folder of the profile that the running test was built with: `target/debug`.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a running test");
    test.ancestors().nth(2).map(Path::to_owned).expect("a test in `deps`")
}

/// The folder for the temporary files of tests, which cargo makes: `target/tmp`.
pub fn scratch_folder() -> PathBuf {
    let folder = profile_folder().with_file_name("tmp");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The server's program, which cargo builds with the tests of the package `picloud`.
pub fn program() -> PathBuf {
    profile_folder().join("picloud")
}
