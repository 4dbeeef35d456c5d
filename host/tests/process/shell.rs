//! Runs commands against a server.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::server::{OWNER_KEY, Server, picloud};

/// A server, and the commands run against it.
pub(crate) struct Shell {
    pub(crate) data: TempDir,
    pub(crate) server: Server,
}

/// The output and the exit code of a command.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Shell {
    pub(crate) fn start() -> Self {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        // An event becomes a dead letter after one attempt.
        let variables = [("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1")];
        let server = Server::start(data.path(), &variables);
        Self { data, server }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.run_with_input(arguments, b"")
    }

    /// Like [`Shell::run`], with this standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Said {
        let variables = [("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_URL", &self.server.url)];
        let mut child = picloud(self.data.path())
            .args(arguments)
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads no input has closed it.
        let _ = child.stdin.take().unwrap().write_all(input);
        let ended = child.wait_with_output().unwrap();
        let Output { status, stdout, stderr } = ended;
        Said {
            code: status.code(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Returns the standard output of a command that must succeed.
    #[track_caller]
    pub(crate) fn does(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.out, said.err);
        said.out.trim_end().to_owned()
    }

    /// Returns the standard error of a command that must end with this code.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.out, said.err);
        assert_eq!(said.out, "", "{arguments:?}");
        said.err
    }

    /// Runs a command that must print something and end with 1.
    #[track_caller]
    pub(crate) fn fails_after_printing(&self, arguments: &[&str]) {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}: {}{}", said.out, said.err);
    }

    /// Returns the standard output of a command that must succeed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        serde_json::from_str(&self.does(&arguments)).unwrap()
    }

    /// Deploys this source as a script of the app `demo`.
    pub(crate) fn deploy(&self, name: &str, source: &str) {
        let file = self.data.path().join(format!("{name}.rhai"));
        std::fs::write(&file, source).unwrap();
        self.does(&["deploy", path(&file), "--app", "demo"]);
    }
}

pub(crate) fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}
