//! A server in a separate process, and a client for it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::database::{Database, Kind};
use crate::program;

/// The owner key of every test's server.
pub const OWNER_KEY: &str = "owner-key-of-the-tests-0123456789";

/// A running `picloud serve`. It is killed when it is dropped.
pub struct Server {
    process: Child,
    /// The lines it printed until it was ready.
    pub greeting: Vec<String>,
    /// `http://ADDRESS`.
    pub url: String,
    http: reqwest::Client,
}

/// Returns a `picloud` command with only this test's environment.
pub fn picloud(data: &Path) -> Command {
    let mut command = Command::new(program());
    command.env_clear().env("PICLOUD_DATA", data).env("PICLOUD_LISTEN", "127.0.0.1:0");
    command
}

impl Server {
    /// Starts the server with these settings, and waits until it is ready.
    pub fn start(data: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = picloud(data);
        command.envs(variables.iter().copied());
        Self::spawn(command)
    }

    /// Starts a server with this command; `serve` is appended.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with(command, &[])
    }

    /// Starts a server with this command; `serve` and the arguments are appended.
    pub fn spawn_with(mut command: Command, arguments: &[&str]) -> Self {
        if !command.get_envs().any(|(name, _)| name == "PICLOUD_LOG") {
            command.env("PICLOUD_LOG", "warn");
        }
        command.arg("serve").args(arguments).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a server");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut greeting = Vec::new();
        let mut url = None;
        for line in output.lines() {
            let line = line.expect("a line");
            if let Some((_, address)) = line.split_once("serves on ") {
                url = Some(address.to_owned());
            }
            let is_last = line == "Ready.";
            greeting.push(line);
            if is_last {
                break;
            }
        }
        let url = url.unwrap_or_else(|| panic!("the server did not start: {greeting:?}"));
        Self { process, greeting, url, http: client() }
    }

    /// Like [`Server::start`], on a test's database.
    pub fn start_on(data: &Path, database: &Database, variables: &[(&str, &str)]) -> Self {
        let url = match database.kind {
            Kind::Sqlite => database.url.to_string(),
            // `url` hides the password when it is printed.
            Kind::Postgres => database.plain_url.clone(),
        };
        let ours = [("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_DATABASE_URL", &url)];
        Self::start(data, &[&ours, variables].concat())
    }

    /// Calls the admin API. Returns the status and the body.
    pub async fn admin(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> reqwest::Result<(u16, Value)> {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.url));
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.bearer_auth(OWNER_KEY).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Creates a resource. Returns the body if the server has acknowledged it.
    pub async fn create(&self, path: &str, body: Value) -> Option<Value> {
        let (status, answer) = self.admin("POST", path, &body).await.ok()?;
        assert!(status == 201 || status == 503, "{path}: {status} {answer}");
        (status == 201).then_some(answer)
    }

    /// Returns the resource at a path, or `null`.
    pub async fn find(&self, path: &str) -> Value {
        match self.admin("GET", path, &json!(null)).await {
            Ok((200, found)) => found,
            _ => Value::Null,
        }
    }

    /// Calls a path without credentials. Returns the status and the execution's id.
    pub async fn call(&self, path: &str) -> reqwest::Result<(u16, Option<String>)> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        let id = answer.headers().get("x-picloud-execution-id");
        let id = id.map(|id| id.to_str().expect("an id").to_owned());
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok((status, id))
    }

    /// Calls a path of another host without credentials. Returns the status.
    pub async fn call_on(&self, host: &str, path: &str) -> reqwest::Result<u16> {
        let request = self.http.get(format!("{}{path}", self.url)).header("host", host);
        Ok(request.send().await?.status().as_u16())
    }

    /// Sends any request as the owner. Returns the response, whatever it is.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> reqwest::Result<Answer> {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.url)).json(body);
        let answer = request.bearer_auth(OWNER_KEY).send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            retry_after: answer.headers().contains_key("retry-after"),
            body: answer.text().await?,
        })
    }

    /// Posts JSON to a path without credentials. Returns the status and the body.
    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Waits, at most a minute, until it has been killed.
    pub async fn died(&mut self) {
        let begun = Instant::now();
        while self.ended().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server still runs");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.ended().and_then(|status| status.signal()), Some(9), "no SIGKILL");
    }

    /// Returns the exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("the state of the process")
    }

    /// Sends SIGKILL: everything that is not on disk is lost.
    pub fn kill(&mut self) {
        // If it has ended already, this does nothing.
        self.process.kill().expect("a signal");
        self.process.wait().expect("its end");
    }

    /// The id of the process, for a signal.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGTERM, and returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("a signal");
        assert!(sent.success());
        self.process.wait().expect("its end").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: bool,
    pub body: String,
}

impl Answer {
    /// Asserts a JSON error that says the server is unavailable, with `Retry-After`.
    #[track_caller]
    pub fn is_clear_refusal(&self) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or(Value::Null);
        let is_clear = self.status == 503 && self.retry_after && body["error"]["code"].is_string();
        assert!(is_clear, "{self:?}");
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // No certificates are needed, and a minimal machine has none.
    reqwest::Client::builder().tls_certs_only([]).build().expect("a client")
}

/// Sends a signal to a process. Returns whether the process exists.
pub async fn signal(pid: u32, signal: &str) -> bool {
    let sent = tokio::process::Command::new("kill").args([signal, &pid.to_string()]).status().await;
    sent.expect("kill").success()
}
