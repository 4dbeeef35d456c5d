//! `picloud-bench-fuel`: measures the CPU time per unit of fuel, for every function of scripts.
//!
//! CPU time is that of the whole process, so it includes the host's work for a script and its
//! commit. The cost of a call is the difference between runs with many calls and runs without. It
//! is compared with the cost of a unit of fuel in the plain loop.
//!
//! An argument selects the functions whose name contains it. `--worst` repeats each call until a
//! limit ends the run, and prints what the run used.

use std::fs;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use picloud::App;
use picloud::Front;
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::store::Store;
use picloud_benches::functions::{Case, cases};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

type Error = Box<dyn std::error::Error>;

const KEY: &str = "owner-key-of-the-bench-0123456789";
/// The approximate fuel for all calls of one measurement.
const FUEL: u64 = 150_000_000;
/// The number of host calls of a run, below the limit `host_calls`.
const HOST_CALLS: u64 = 100;
const OUTBOUND_CALLS: u64 = 40;
/// The approximate maximum fuel of a run with host calls.
const HOST_FUEL: u64 = 600_000_000;
/// The number of repetitions of runs with host calls.
const HOST_RUNS: u32 = 5;
const HOST_RUNS_MAX: u32 = 60;
/// The maximum CPU time per fuel of a function, as a multiple of the plain loop's.
const RATIO_MAX: f64 = 3.0;
/// The maximum number of measurements of a case.
const MEASUREMENTS_MAX: u32 = 3;

fn main() -> Result<(), Error> {
    // Threads must not end, because their CPU time is no longer reported afterwards.
    let threads_stay = Duration::from_secs(24 * 3600);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_keep_alive(threads_stay).build()?.block_on(run())
}

async fn run() -> Result<(), Error> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let worst = arguments.iter().any(|argument| argument == "--worst");
    arguments.retain(|argument| argument != "--worst");
    let bench = Bench::start().await?;
    let plain = cases().find(|case| case.function == "loop").ok_or("no loop")?;
    let unit = bench.measure(&plain).await?.ns_per_fuel();
    println!("The plain loop: {:.0} fuel per millisecond.\n", 1e6 / unit);
    let wanted = |case: &Case| {
        arguments.is_empty() || arguments.iter().any(|part| case.function.contains(part.as_str()))
    };
    let cases = cases().filter(wanted);
    if worst { bench.worst(cases).await } else { bench.ratios(cases, unit).await }
}

/// The CPU time and the fuel of one case.
struct Measured {
    calls: u64,
    fuel: u64,
    cpu: Duration,
}

impl Measured {
    fn ns_per_fuel(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.fuel.max(1) as f64
    }
}

struct Bench {
    front: Front,
    store: Store,
    url: String,
    _stop: watch::Sender<bool>,
    _data: TempDir,
}

impl Bench {
    async fn start() -> Result<Self, Error> {
        let data = TempDir::new()?;
        if let Some(compiled) = std::env::var_os("PICLOUD_BENCH_CODE") {
            copy_folder(compiled.as_ref(), data.path())?;
        }
        let variables = [
            ("PICLOUD_DATA", data.path().to_str().ok_or("a path in UTF-8")?),
            ("PICLOUD_OWNER_KEY", KEY),
            ("PICLOUD_PRIVATE_HOSTS", "127.0.0.1"),
            ("PICLOUD_TEST_RATE", "unlimited"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.into()));
        let config = Config::read(variables)?.config;
        let app = App::build(&config, Clock::system()).await.map_err(|error| error.to_string())?;
        let stop = watch::Sender::new(false);
        let url = answer_requests().await?;
        let bench = Self { front: app.front, store: app.store, url, _stop: stop, _data: data };
        bench.prepare().await?;
        Ok(bench)
    }

    /// Writes the entries and files that the calls read.
    async fn prepare(&self) -> Result<(), Error> {
        self.call("POST", "/apps", &json!({"name": "bench"})).await?;
        self.call("POST", "/apps/bench/scripts", &json!({"name": "empty", "source": "()"})).await?;
        self.call("PUT", "/apps/bench/secrets/secret", &json!({"value": "hush"})).await?;
        let fill = r#"
            let large = ""; large.pad(200000, 'x');
            let c = kv::collection("c");
            c.set("k", 1); c.set("large", large);
            for n in 0..150 { c.set(`m${n}`, n); }
            let f = files::bucket("f");
            f.put("small", "x"); f.put("large", blob(4000000, 1));
            if ctx.request.body > 0 {
                let big = kv::collection("big");
                for n in 0..30 { big.set(`b${ctx.request.body}-${n}`, large); }
            }"#;
        let fill = self.script("fill", fill).await?;
        for part in 0..3 {
            self.run(&fill, part).await?;
        }
        Ok(())
    }

    async fn script(&self, name: &str, source: &str) -> Result<String, Error> {
        let script = json!({"name": name, "source": source, "endpoint_enabled": false});
        let made = self.call("POST", "/apps/bench/scripts", &script).await?;
        Ok(made["id"].as_str().ok_or_else(|| made.to_string())?.to_owned())
    }

    async fn run(&self, script_id: &str, calls: u64) -> Result<Value, Error> {
        let headers = json!([["content-type", "application/json"]]);
        let request = json!({"body": calls.to_string(), "headers": headers});
        self.call("POST", &format!("/execute/{script_id}"), &request).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))?;
        let answer = self.front.clone().oneshot(request).await?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await?;
        if !status.is_success() {
            return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// Returns the CPU time and the fuel of `runs` runs.
    async fn runs(&self, script_id: &str, calls: u64, runs: u32) -> Result<(Duration, u64), Error> {
        let before = cpu()?;
        let mut fuel = 0;
        for _ in 0..runs {
            let ran = self.run(script_id, calls).await?;
            if ran["status"] != "success" {
                return Err(format!("{calls} calls: {}", ran["error"]).into());
            }
            fuel += ran["fuel_used"].as_u64().unwrap_or(0);
        }
        self.store.flush().await?;
        Ok((cpu()?.saturating_sub(before), fuel))
    }

    async fn measure(&self, case: &Case) -> Result<Measured, Error> {
        let name = format!("s{:x}", self.next_number());
        let script = self.script(&name, &case.script(&self.url)).await?;
        let (_, none) = self.runs(&script, 0, 1).await?;
        let (_, one) = self.runs(&script, 1, 1).await?;
        // The first call also pays for a loop and a copy of a value, so measure a second one.
        let (_, two) = self.runs(&script, 2, 1).await?;
        let each = (two - one).max(one - none).max(1);
        let (calls, runs) = if case.asks_the_host() {
            let calls_max = if case.call.contains("http::") { OUTBOUND_CALLS } else { HOST_CALLS };
            let calls = (HOST_FUEL / each).clamp(1, calls_max);
            // Many runs of cheap calls, to reduce the influence of other work in the process.
            let runs = u32::try_from(FUEL / (calls * each)).unwrap_or(u32::MAX);
            (calls, runs.clamp(HOST_RUNS, HOST_RUNS_MAX))
        } else {
            ((FUEL / each).clamp(1, 3_000_000), 1)
        };
        let (base_cpu, base_fuel) = self.runs(&script, 0, runs).await?;
        let (cpu, fuel) = self.runs(&script, calls, runs).await?;
        let (cpu, fuel) = (cpu.saturating_sub(base_cpu), fuel - base_fuel);
        Ok(Measured { calls: calls * u64::from(runs), fuel, cpu })
    }

    /// Measures a case, and repeats it while its result is too high: other work on the machine can
    /// only increase it.
    async fn least(&self, case: &Case, unit: f64) -> Result<Measured, Error> {
        let mut least = self.measure(case).await?;
        for _ in 1..MEASUREMENTS_MAX {
            if least.ns_per_fuel() / unit <= RATIO_MAX {
                break;
            }
            let again = self.measure(case).await?;
            if again.ns_per_fuel() < least.ns_per_fuel() {
                least = again;
            }
        }
        Ok(least)
    }

    fn next_number(&self) -> u64 {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        NUMBER.fetch_add(1, Ordering::Relaxed)
    }

    async fn ratios(&self, cases: impl Iterator<Item = Case>, unit: f64) -> Result<(), Error> {
        println!("| function | call | fuel | CPU | ÷ plain loop |");
        println!("| --- | --- | ---: | ---: | ---: |");
        let mut dear = Vec::new();
        for case in cases {
            let measured = match self.least(&case, unit).await {
                Ok(measured) => measured,
                Err(error) => {
                    println!("| {} | `{}` | | | {error} |", case.function, case.call);
                    dear.push(case.function);
                    continue;
                }
            };
            let ratio = measured.ns_per_fuel() / unit;
            let (fuel, us) = (
                measured.fuel / measured.calls,
                measured.cpu.as_secs_f64() * 1e6 / measured.calls as f64,
            );
            println!("| {} | `{}` | {fuel} | {us:.2} µs | {ratio:.2} |", case.function, case.call);
            if ratio > RATIO_MAX {
                dear.push(case.function);
            }
        }
        if dear.is_empty() { Ok(()) } else { Err(format!("too expensive: {dear:?}").into()) }
    }

    async fn worst(&self, cases: impl Iterator<Item = Case>) -> Result<(), Error> {
        println!("| function | call | ended | CPU | host memory |");
        println!("| --- | --- | --- | ---: | ---: |");
        for case in cases {
            let name = format!("w{:x}", self.next_number());
            let source = case.script(&self.url).replace("ctx.request.body", "1000000000");
            let script = self.script(&name, &source).await?;
            let resident = reset_peak()?;
            let before = cpu()?;
            let ran = self.run(&script, 0).await?;
            self.store.flush().await?;
            let (cpu, peak) = (cpu()? - before, peak_bytes()?);
            let guest = ran["memory_peak_bytes"].as_u64().unwrap_or(0);
            let host = peak.saturating_sub(resident).saturating_sub(guest);
            let limit = ran["error"]["limit"]["limit"].as_str().unwrap_or("-").to_owned();
            println!(
                "| {} | `{}` | {limit} | {:.0} ms | {:.1} MiB |",
                case.function,
                case.call,
                cpu.as_secs_f64() * 1000.0,
                host as f64 / f64::from(1 << 20),
            );
        }
        Ok(())
    }
}

/// Starts a server that answers every request with an empty body. Returns its URL.
async fn answer_requests() -> Result<String, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 20];
                // Requests arrive one at a time, and each fits into one read.
                while let Ok(1..) = stream.read(&mut buffer).await {
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(url)
}

/// Returns the CPU time of this process's threads.
fn cpu() -> Result<Duration, Error> {
    let mut ns = 0;
    for task in fs::read_dir("/proc/self/task")? {
        // A thread can end meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        ns += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(ns))
}

fn status_bytes(field: &str) -> Result<u64, Error> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// Returns the resident memory, and resets the peak that [`peak_bytes`] returns.
fn reset_peak() -> Result<u64, Error> {
    fs::write("/proc/self/clear_refs", "5")?;
    status_bytes("VmRSS:")
}

fn peak_bytes() -> Result<u64, Error> {
    status_bytes("VmHWM:")
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> Result<(), Error> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&to)?;
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
