//! Requests over HTTP: the server as a process, with a fresh sandbox and a log row per response,
//! compared with Node on the same machine in the same run.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::Error;
use crate::process::{Server, start};

/// The number of rounds. Each one measures all servers in turn, so that conditions are equal.
const ROUNDS: usize = 5;
const SECONDS: u32 = 3;

/// Measures and writes the section.
pub(crate) fn report(out: &mut String) -> Result<(), Error> {
    let data = TempDir::new()?;
    let (server, _) = start(data.path())?;
    deploy(&server)?;
    let plain = Node::start("plain.mjs")?;
    let contexts = Node::start("vm.mjs")?;
    let urls = [
        format!("http://{}/x/bench/echo", server.address),
        plain.url.clone(),
        contexts.url.clone(),
    ];
    let mut rates: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (url, rates) in urls.iter().zip(&mut rates) {
            rates.push(requests_a_second(url)?);
        }
    }
    let [ours, plain, contexts] = rates.map(median);

    writeln!(out, "## Over HTTP\n")?;
    writeln!(
        out,
        "`wrk -t1 -c16` on the same two cores: an echo of a JSON body. PiCloud uses a fresh sandbox \
         and a log row for each request, with SQLite. Node responds without a log.\n"
    )?;
    writeln!(
        out,
        "| server | requests per second | PiCloud ÷ it | target |\n| --- | ---: | ---: | ---: |"
    )?;
    writeln!(out, "| PiCloud | {ours:.0} | | |")?;
    writeln!(out, "| `node:http` | {plain:.0} | {:.2}× | 1× |", ours / plain)?;
    writeln!(
        out,
        "| `node:vm`, a new context per request | {contexts:.0} | {:.1}× | 15× |\n",
        ours / contexts
    )?;
    Ok(())
}

fn deploy(server: &Server) -> Result<(), Error> {
    server.call("POST", "/api/v1/apps", &json!({"name": "bench"}))?;
    let script = json!({"name": "echo", "source": picloud_benches::ECHO});
    server.call("POST", "/api/v1/apps/bench/scripts", &script)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Returns the requests per second that wrk counts. Fails if any response is not a success.
fn requests_a_second(url: &str) -> Result<f64, Error> {
    let output = Command::new("wrk")
        .args(["-t1", "-c16", &format!("-d{SECONDS}s"), "-s", "benches/http/post.lua", url])
        .output()
        .map_err(|error| format!("wrk: {error}: apt-get install wrk"))?;
    let text = String::from_utf8(output.stdout)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("{url}: {text}").into());
    }
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.ok_or_else(|| format!("{url}: {text}"))?.trim().parse()?)
}

struct Node {
    process: Child,
    url: String,
}

impl Node {
    fn start(script: &str) -> Result<Self, Error> {
        let mut process = Command::new("node")
            .arg(format!("benches/http/{script}"))
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("node: {error}"))?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url)?;
        Ok(Self { process, url: url.trim().to_owned() })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
