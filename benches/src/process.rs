//! The server as a process: how fast it starts, what it costs while idle, and how soon an uploaded
//! script can be called.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Error;

const KEY: &str = "owner-key-of-the-bench-0123456789";
const BINARY: &str = "target/release/picloud";
const STARTS: usize = 7;
const UPLOADS: usize = 50;
const SCRIPTS: usize = 100;
const IDLE: Duration = Duration::from_secs(60);

/// Measures and writes the section.
pub(crate) fn report(out: &mut String) -> Result<(), Error> {
    let data = TempDir::new()?;
    let first = start(data.path())?.1;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(start(data.path())?.1);
    }
    let (server, _) = start(data.path())?;
    server.call("POST", "/api/v1/apps", &json!({"name": "bench"}))?;
    let mut uploads = Vec::new();
    for number in 0..UPLOADS {
        uploads.push(server.upload_and_call(&format!("upload-{number}"))?);
    }
    for number in UPLOADS..SCRIPTS {
        server.upload_and_call(&format!("idle-{number}"))?;
    }
    // Wait until the work that the uploads caused is done.
    std::thread::sleep(Duration::from_secs(2));
    let before = server.cpu_ticks()?;
    std::thread::sleep(IDLE);
    let idle_ms = (server.cpu_ticks()? - before) * 1000 / ticks_per_second()?;

    writeln!(out, "## The process")?;
    writeln!(out, "\n| what | measured | target |\n| --- | ---: | ---: |")?;
    let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    writeln!(out, "| first start to ready, the guest compiled | {} | 10 s |", millis(first))?;
    writeln!(out, "| start to ready, code cached | {} | 300 ms |", millis(median(starts)))?;
    writeln!(
        out,
        "| upload to the first response, both requests | {} | 20 ms |",
        millis(median(uploads))
    )?;
    writeln!(out, "| CPU while idle for 60 s, {SCRIPTS} scripts | {idle_ms} ms | 10 ms |")?;
    let resident_mb = server.resident_bytes()? / 1_000_000;
    writeln!(out, "| resident while idle, {SCRIPTS} scripts | {resident_mb} MB | 60 MB |")?;
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ticks_per_second() -> Result<u64, Error> {
    let output = Command::new("getconf").arg("CLK_TCK").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// A running server.
pub(crate) struct Server {
    process: Child,
    /// The address it listens on, without a scheme.
    pub(crate) address: String,
}

/// Starts a server on a data folder. Returns the time until it was ready.
pub(crate) fn start(data: &Path) -> Result<(Server, Duration), Error> {
    let started = Instant::now();
    let mut process = Command::new(BINARY)
        .arg("serve")
        .env("PICLOUD_DATA", data)
        .env("PICLOUD_LISTEN", "127.0.0.1:0")
        .env("PICLOUD_OWNER_KEY", KEY)
        .env("PICLOUD_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{BINARY}: {error}: run `make bench`"))?;
    let output = process.stdout.take().ok_or("no output")?;
    let mut address = String::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        if let Some((_, url)) = line.split_once("http://") {
            url.clone_into(&mut address);
        }
        if line == "Ready." {
            break;
        }
    }
    Ok((Server { process, address }, started.elapsed()))
}

impl Server {
    /// Returns the time from sending a new script to the response of its first call.
    fn upload_and_call(&self, name: &str) -> Result<Duration, Error> {
        let source = format!("let name = \"{name}\";\n{}", picloud_benches::HANDLER);
        let script = json!({"name": name, "source": source});
        let body: Value = serde_json::from_str(picloud_benches::BODY)?;
        let started = Instant::now();
        self.call("POST", "/api/v1/apps/bench/scripts", &script)?;
        self.call("POST", &format!("/x/bench/{name}"), &body)?;
        Ok(started.elapsed())
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Result<(), Error> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 2") {
            Ok(())
        } else {
            Err(format!("{method} {path}: {answer}").into())
        }
    }

    /// Returns user and system time, in ticks (proc_pid_stat(5), fields 14 and 15).
    fn cpu_ticks(&self) -> Result<u64, Error> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
        let ticks: Vec<u64> =
            fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum())
    }

    fn resident_bytes(&self) -> Result<u64, Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.trim().split(' ').next().unwrap_or_default().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
