//! A PostgreSQL server for one test, to be stopped and started under load.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::database::{Database, Kind};

/// A running cluster with its data in a temporary folder. It is stopped when it is dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if is_root() {
            // The server refuses to run as root; the user `postgres` needs access to its data.
            done(Command::new("chown").arg("postgres:").arg(folder.path()).output());
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a port").port();
        let cluster = Self { folder, programs: programs(), port };
        cluster.run(
            "initdb",
            &["--username", "picloud", "--auth", "trust", "--encoding", "UTF8", "--no-sync"],
        );
        cluster.resume();
        cluster
    }

    pub(crate) fn database(&self) -> Database {
        let url = format!("postgres://picloud@127.0.0.1:{}/postgres", self.port);
        Database { kind: Kind::Postgres, url: url.parse().expect("a URL"), plain_url: url }
    }

    /// Stops it immediately, like a crash.
    pub(crate) fn crash(&self) {
        self.run("pg_ctl", &["--mode", "immediate", "--wait", "--silent", "stop"]);
    }

    /// Starts it again.
    pub(crate) fn resume(&self) {
        let folder = self.folder.path().display();
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={folder} \
             -c fsync=off -c max_connections=50",
            self.port
        );
        let log = format!("{folder}/server.log");
        self.run("pg_ctl", &["--log", &log, "--options", &options, "--wait", "--silent", "start"]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let data = self.folder.path().join("cluster");
        // The server would keep pipes open, and reading them would never end.
        let null = std::process::Stdio::null;
        command.arg("--pgdata").arg(data).args(arguments).current_dir(self.folder.path());
        let status = command.stdout(null()).stderr(null()).status().expect("a program");
        let log = || std::fs::read_to_string(self.folder.path().join("server.log"));
        assert!(status.success(), "{command:?}: {status} {:?}", log());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.crash();
        }
    }
}

fn done(output: std::io::Result<Output>) {
    let output = output.expect("a program");
    assert!(output.status.success(), "{output:?}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the folder of the newest server's programs; Debian keeps them out of PATH.
fn programs() -> PathBuf {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&in_path).collect();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = debian.map(|entry| entry.path().join("bin")).collect();
    let major = |path: &Path| -> Option<u32> { path.parent()?.file_name()?.to_str()?.parse().ok() };
    versions.sort_by_key(|path| std::cmp::Reverse(major(path)));
    folders.extend(versions);
    let found = folders.into_iter().find(|folder| folder.join("initdb").exists());
    found.expect("PostgreSQL is missing: sudo apt-get install postgresql")
}
