//! Runs the shell blocks of the documentation and of the examples as they are written, each page in
//! order and on a fresh server. `readme.rs` does the same with the README.
//!
//! Only the address, the owner key and the two folders of an installation differ. A comment before
//! a block prepares or excludes it:
//!
//! ```text
//! <!-- setup: COMMANDS -->     runs before the block
//! <!-- not run: REASON -->     the block needs more than a server
//! ```

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use picloud_testing::{program, scratch_folder};

use crate::compiled_guest;
use crate::readme::{ADDRESS, Block, blocks, root};
use crate::server::{OWNER_KEY, Server, picloud};

/// Stops a command with `--follow` after two seconds, as a reader would with Ctrl-C.
const WRAPPER: &str = "\
#!/bin/bash
for argument; do
    if [ \"$argument\" = --follow ]; then
        timeout --signal INT 2 picloud-program \"$@\"
        exit 0
    fi
done
exec picloud-program \"$@\"
";

/// The instruction of the comment before a block.
fn instruction<'a>(block: &Block<'a>, name: &str) -> Option<&'a str> {
    let comment = block.before.lines().next_back()?;
    comment.strip_prefix("<!-- ")?.strip_prefix(name)?.strip_suffix(" -->")
}

/// Returns the shell blocks of a page that run, with their setups, as one script.
fn script(page: &str) -> (String, usize) {
    let (mut script, mut runs) = ("set -e -o pipefail\n".to_owned(), 0);
    for block in blocks(page).iter().filter(|block| block.language == "sh") {
        if instruction(block, "not run: ").is_some() {
            let parsed = Command::new("bash").args(["-n", "-c", block.text]).status().unwrap();
            assert!(parsed.success(), "{}", block.text);
            continue;
        }
        runs += 1;
        script += instruction(block, "setup: ").unwrap_or_default();
        script += "\n";
        script += block.text;
    }
    (script, runs)
}

/// A folder with the program `picloud`, to be put on the PATH.
fn programs(scratch: &Path) -> PathBuf {
    let folder = scratch.join("bin");
    fs::create_dir(&folder).unwrap();
    symlink(program(), folder.join("picloud-program")).unwrap();
    let wrapper = folder.join("picloud");
    fs::write(&wrapper, WRAPPER).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Runs a page in a folder.
fn run(page: &Path, folder: &Path) -> usize {
    let (script, runs) = script(&fs::read_to_string(page).unwrap());
    if runs == 0 {
        return 0;
    }
    let scratch = tempfile::TempDir::new_in(scratch_folder()).unwrap();
    let data = scratch.path().join("data");
    let backups = scratch.path().join("backups");
    fs::create_dir(&data).unwrap();
    fs::create_dir(&backups).unwrap();
    compiled_guest::place(&data);
    let mut command = picloud(&data);
    // An event becomes a dead letter after one attempt.
    command.env("PICLOUD_OWNER_KEY", OWNER_KEY).env("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1");
    let server = Server::spawn(command);
    let address = server.url.strip_prefix("http://").unwrap();
    let script = script
        .replace(ADDRESS, address)
        .replace("pco_…", OWNER_KEY)
        .replace("/var/backups/picloud", backups.to_str().unwrap())
        .replace("/var/lib/picloud", data.to_str().unwrap());
    let path = format!(
        "{}:{}",
        programs(scratch.path()).display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new("timeout")
        .args(["120", "bash", "-x", "-c", &script])
        .current_dir(folder)
        .env("PATH", path)
        .env("PICLOUD_OWNER_KEY", OWNER_KEY)
        .env("PICLOUD_URL", &server.url)
        .env("PICLOUD_LISTEN", address)
        .env("PICLOUD_DATA", &data)
        .output()
        .unwrap();
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{told}\n{errors}", page.display());
    assert!(!told.contains("\"error\":{"), "{}\n{told}\n{errors}", page.display());
    assert_eq!(server.stop(), Some(0));
    runs
}

#[test]
fn the_commands_of_the_guides_run_as_they_are_written() {
    let mut runs = 0;
    for name in ["accounts", "events", "ingress", "operations", "command-line", "scripting"] {
        let folder = tempfile::TempDir::new_in(scratch_folder()).unwrap();
        runs += run(&root().join(format!("docs/{name}.md")), folder.path());
    }
    assert!(runs >= 11, "only {runs} blocks ran");
}

#[test]
fn the_commands_of_the_examples_run_as_they_are_written() {
    let mut runs = 0;
    for example in fs::read_dir(root().join("examples")).unwrap() {
        let example = example.unwrap().path();
        if example.is_dir() {
            runs += run(&example.join("README.md"), &example);
        }
    }
    assert!(runs >= 12, "only {runs} blocks ran");
}

#[test]
fn every_block_runs_or_says_why_it_does_not() {
    let page = "text\n\n<!-- not run: needs root -->\n```sh\nfalse\n```\n\n\
                <!-- setup: x=1 -->\n```sh\necho $x\n```\n";
    let (script, runs) = script(page);
    assert_eq!((script.as_str(), runs), ("set -e -o pipefail\nx=1\necho $x\n", 1));
}
