//! A server in a process of its own, and a client for it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::database::{Database, Kind};

/// The owner key of every test's server.
pub(crate) const OWNER_KEY: &str = "owner-key-of-the-tests-0123456789";

/// A running `picloud serve`; killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    /// What it printed until it was ready.
    pub(crate) greeting: Vec<String>,
    /// `http://ADDRESS`.
    pub(crate) url: String,
    http: reqwest::Client,
}

/// `picloud` with nothing in its environment but what the test says.
pub(crate) fn picloud(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picloud"));
    command.env_clear().env("PICLOUD_DATA", data).env("PICLOUD_LISTEN", "127.0.0.1:0");
    command
}

impl Server {
    /// Starts the server on these settings and waits until it is ready.
    pub(crate) fn start(data: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = picloud(data);
        command.envs(variables.iter().copied());
        Self::spawn(command)
    }

    /// Starts a server by this command, to which `serve` is added.
    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_with(command, &[])
    }

    /// Starts a server by this command, to which `serve` and its arguments are added.
    pub(crate) fn spawn_with(mut command: Command, arguments: &[&str]) -> Self {
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

    /// [`Server::start`] on a test's database.
    pub(crate) fn start_on(data: &Path, database: &Database, variables: &[(&str, &str)]) -> Self {
        let url = match database.kind {
            Kind::Sqlite => database.url.to_string(),
            // Shown, a URL lacks its password.
            Kind::Postgres => database.plain_url.clone(),
        };
        let ours = [("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_DATABASE_URL", &url)];
        Self::start(data, &[&ours, variables].concat())
    }

    /// Calls the admin API; the answer's status and body.
    pub(crate) async fn admin(
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

    /// Creates something; its body when the server has said that it is there.
    pub(crate) async fn create(&self, path: &str, body: Value) -> Option<Value> {
        let (status, answer) = self.admin("POST", path, &body).await.ok()?;
        assert!(status == 201 || status == 503, "{path}: {status} {answer}");
        (status == 201).then_some(answer)
    }

    /// What is there, or `null`.
    pub(crate) async fn find(&self, path: &str) -> Value {
        match self.admin("GET", path, &json!(null)).await {
            Ok((200, found)) => found,
            _ => Value::Null,
        }
    }

    /// Calls a path as anybody: the answer's status and the execution's id.
    pub(crate) async fn call(&self, path: &str) -> reqwest::Result<(u16, Option<String>)> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        let id = answer.headers().get("x-picloud-execution-id");
        let id = id.map(|id| id.to_str().expect("an id").to_owned());
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok((status, id))
    }

    /// Asks anything, as the owner; what came back, whatever it is.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> reqwest::Result<Answer> {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.url)).json(body);
        let answer = request.bearer_auth(OWNER_KEY).send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            retry_after: answer.headers().contains_key("retry-after"),
            body: answer.text().await?,
        })
    }

    /// Posts JSON to a path as anybody; the answer's status and body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Waits until it has been killed, at the latest after a minute.
    pub(crate) async fn died(&mut self) {
        let begun = Instant::now();
        while self.ended().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it lives on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.ended().and_then(|status| status.signal()), Some(9), "it was not killed");
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("its state")
    }

    /// SIGKILL: what was not on disk is gone.
    pub(crate) fn kill(&mut self) {
        // It may have been killed from elsewhere; then this has nothing to do.
        self.process.kill().expect("a signal");
        self.process.wait().expect("its end");
    }

    /// The process, for a signal.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
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

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: bool,
    pub(crate) body: String,
}

impl Answer {
    /// It says that nothing can be done now, in JSON, and when to come again.
    #[track_caller]
    pub(crate) fn is_clear_refusal(&self) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or(Value::Null);
        let is_clear = self.status == 503 && self.retry_after && body["error"]["code"].is_string();
        assert!(is_clear, "{self:?}");
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // No certificates are needed, and a bare machine has none.
    reqwest::Client::builder().tls_certs_only([]).build().expect("a client")
}

/// Sends a signal to a process of ours; whether there was one to take it.
pub(crate) async fn signal(pid: u32, signal: &str) -> bool {
    let sent = tokio::process::Command::new("kill").args([signal, &pid.to_string()]).status().await;
    sent.expect("kill").success()
}
