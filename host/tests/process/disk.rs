//! A small disk for a server's data, to be filled and emptied while the server runs.
//!
//! It is a tmpfs in a mount namespace of the server, and disappears with it. Without root it is in
//! a user namespace too. Where the system permits neither, the size of files is limited instead: a
//! write then fails with EFBIG and not with ENOSPC.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::database::{Database, Kind};
use crate::server::{OWNER_KEY, Server, picloud};

/// Enough space for the interpreter, the database and its log, and little more.
const DISK: &str = "size=64m";
/// The space that the server reserves for cleaning up, in bytes.
const RESERVE: &str = "8388608";
/// The file with the id of the process that keeps the disk mounted, and its lifetime in seconds.
const KEEPER: &str = "keeper";
const KEPT_S: u32 = 600;
/// A file of the test that takes all the remaining space.
const FILLER: &str = "filler";

/// The disk of a server.
pub(crate) struct Disk {
    /// The data folder, as this process sees it.
    data: PathBuf,
    /// The server, if its file sizes are limited.
    limited: Option<u32>,
    /// The process that keeps the disk mounted after the server has ended.
    keeper: Option<u32>,
    /// The server's log.
    log: PathBuf,
}

impl Disk {
    /// Starts a server whose data folder, like `data`, is on a small disk.
    pub(crate) fn start(data: &Path, variables: &[(&str, &str)]) -> (Server, Self) {
        let wrapper = wrapper();
        println!("the disk is made by {:?}", wrapper.unwrap_or(&["a limit"]));
        let mut command = picloud(data);
        if let Some(wrapper) = wrapper {
            let script = format!(
                "mkdir $PICLOUD_DATA/disk && mount -t tmpfs -o {DISK} tmpfs $PICLOUD_DATA/disk \
                 && cp -r $PICLOUD_DATA/cache $PICLOUD_DATA/disk/ \
                 && {{ sleep {KEPT_S} >/dev/null 2>&1 & echo $! >$PICLOUD_DATA/{KEEPER}; }} \
                 && export PICLOUD_DATA=$PICLOUD_DATA/disk && exec \"$0\" \"$@\""
            );
            command = wrapped(&command, wrapper, &script);
        } else {
            // The signal is ignored, so the write fails instead.
            command = wrapped(&command, &[], "trap '' XFSZ; exec \"$0\" \"$@\"");
        }
        command.env("PICLOUD_OWNER_KEY", OWNER_KEY).env("PICLOUD_DISK_RESERVE_BYTES", RESERVE);
        command.envs(variables.iter().copied());
        let log = data.join("log");
        command.stderr(File::create(&log).expect("a log"));
        let server = Server::spawn(command);
        let keeper = fs::read_to_string(data.join(KEEPER));
        let pid = keeper.map_or(server.pid(), |pid| pid.trim().parse().expect("a number"));
        let disk = match wrapper {
            Some(_) => {
                // A link in the path would lead out of the namespace, to the machine's own disk.
                let disk = data.canonicalize().expect("a folder").join("disk");
                let seen = disk.strip_prefix("/").expect("an absolute path");
                Self {
                    data: Path::new("/proc").join(pid.to_string()).join("root").join(seen),
                    limited: None,
                    keeper: Some(pid),
                    log,
                }
            }
            None => Self { data: data.to_owned(), limited: Some(pid), keeper: None, log },
        };
        (server, disk)
    }

    /// Returns the warnings that the server has logged so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).expect("a log");
        log.lines().filter(|line| line.contains(" WARN picloud")).map(str::to_owned).collect()
    }

    /// Starts another server on the disk, after the first was killed; `None` without a separate
    /// disk.
    pub(crate) fn start_again(&self, data: &Path, variables: &[(&str, &str)]) -> Option<Server> {
        let keeper = self.keeper?.to_string();
        let disk = data.canonicalize().expect("a folder").join("disk");
        let mut command = Command::new("nsenter");
        command.args(["--target", &keeper, "--mount", "--preserve-credentials"]);
        // Without root, the disk is in a user namespace too.
        if wrapper().is_some_and(|wrapper| wrapper.contains(&"--map-root-user")) {
            command.arg("--user");
        }
        command.arg(picloud(data).get_program()).env_clear();
        command.env("PICLOUD_DATA", disk).env("PICLOUD_LISTEN", "127.0.0.1:0");
        command.env("PICLOUD_OWNER_KEY", OWNER_KEY).env("PICLOUD_DISK_RESERVE_BYTES", RESERVE);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Some(Server::spawn({
            command.envs(variables.iter().copied());
            command
        }))
    }

    /// Copies the database while no writer is active: SQLite itself cannot open a file in another
    /// namespace.
    pub(crate) fn copy_database(&self, folder: &Path) -> Database {
        for name in ["picloud.db", "picloud.db-wal"] {
            fs::copy(self.data.join(name), folder.join(name)).expect("a copy");
        }
        let file = folder.join("picloud.db");
        Database {
            kind: Kind::Sqlite,
            url: picloud::store::DatabaseUrl::sqlite_file(&file).expect("a path"),
            plain_url: format!("sqlite://{}", file.display()),
        }
    }

    /// Fills the disk: from now on every write fails.
    pub(crate) fn fill(&mut self) {
        if let Some(pid) = self.limited {
            return limit(pid, "1");
        }
        let mut filler = File::create(self.data.join(FILLER)).expect("a file");
        let block = [0; 4096];
        let full = loop {
            if let Err(error) = filler.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// Frees space on the disk.
    pub(crate) fn make_room(&mut self) {
        match self.limited {
            Some(pid) => limit(pid, "unlimited"),
            None => fs::remove_file(self.data.join(FILLER)).expect("a filler"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Printed to explain a failure.
        eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        if let Some(keeper) = self.keeper {
            let _ = Command::new("kill").arg(keeper.to_string()).status();
        }
    }
}

/// Returns a command that creates a namespace in which a file system can be mounted.
fn wrapper() -> Option<&'static [&'static str]> {
    let wrappers: [&[&str]; 2] =
        [&["unshare", "--mount"], &["unshare", "--map-root-user", "--mount"]];
    wrappers.into_iter().find(|wrapper| {
        let mounted = Command::new(wrapper[0])
            .args(&wrapper[1..])
            .args(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", "/tmp"])
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success())
    })
}

/// Wraps `command` in a shell script that replaces itself by it.
fn wrapped(command: &Command, wrapper: &[&str], script: &str) -> Command {
    let shell = ["sh", "-c", script];
    let words = wrapper.iter().chain(&shell).copied();
    let mut words = words.map(std::ffi::OsStr::new).chain([command.get_program()]);
    let mut wrapped = Command::new(words.next().expect("a word"));
    wrapped.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped
}

/// Limits the size of files that a process writes, in bytes.
fn limit(pid: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(done.expect("prlimit").success());
}
