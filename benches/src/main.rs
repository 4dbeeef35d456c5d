//! `picloud-bench-report`: writes `docs/benchmarks.md` from criterion's results.

mod http;
mod process;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use picloud_benches::INTERPRETER;
use picloud_benches::events::EVENTS;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let figures = Figures(Path::new("target/criterion"));
    let report = report(&figures)?;
    fs::create_dir_all("docs")?;
    fs::write("docs/benchmarks.md", &report)?;
    print!("{report}");
    Ok(())
}

/// The folder with criterion's results.
struct Figures<'a>(&'a Path);

impl Figures<'_> {
    /// Returns the median of a bench, in nanoseconds.
    fn median_ns(&self, group: &str, bench: &str) -> Result<f64, Error> {
        let bench = bench.replace('/', "_");
        let file = self.0.join(group).join(&bench).join("new/estimates.json");
        let text = fs::read_to_string(&file)
            .map_err(|error| format!("{}: {error}: run `make bench`", file.display()))?;
        let estimates: serde_json::Value = serde_json::from_str(&text)?;
        estimates["median"]["point_estimate"]
            .as_f64()
            .ok_or_else(|| format!("{}: no median", file.display()).into())
    }
}

fn report(figures: &Figures<'_>) -> Result<String, Error> {
    let mut text = String::new();
    let out = &mut text;
    writeln!(out, "# Benchmarks\n")?;
    writeln!(
        out,
        "Written by `make bench`. Medians of one run, so that ratios are valid on a noisy machine.\n"
    )?;
    writeln!(out, "Machine: {}.\n", machine())?;
    executions(out, figures)?;
    interpreter(out, figures)?;
    events(out, figures)?;
    http::report(out)?;
    process::report(out)?;
    Ok(text)
}

fn executions(out: &mut String, figures: &Figures<'_>) -> Result<(), Error> {
    writeln!(out, "## One execution\n")?;
    writeln!(
        out,
        "A fresh sandbox for every execution, fuel and memory metered, against native Rhai with the \
         same functions, without isolation. *Sandbox* is the time that an execution occupies a \
         thread while 16 run on all cores. *Alone* is one at a time on an idle machine. Most of it \
         is the time to wake two idle processors: the guest thread's and the caller's.\n"
    )?;
    writeln!(
        out,
        "| script | executor | sandbox | alone | engine built per request | cached script | per request ÷ executor | executor − cached | per request ÷ sandbox | sandbox − cached |"
    )?;
    writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for script in ["empty", "echo", "handler"] {
        let median = |world: &str| figures.median_ns("execution", &format!("{script}/{world}"));
        let executor = median("sandbox-here")?;
        let sandbox = median("sandbox")?;
        let alone = median("sandbox-latency")?;
        let per_request = median("native-per-request")?;
        let cached = median("native-cached")?;
        writeln!(
            out,
            "| {script} | {} | {} | {} | {} | {} | {:.1}× | {} | {:.1}× | {} |",
            micros(executor),
            micros(sandbox),
            micros(alone),
            micros(per_request),
            micros(cached),
            per_request / executor,
            micros(executor - cached),
            per_request / sandbox,
            micros(sandbox - cached),
        )?;
    }
    writeln!(
        out,
        "\nThe target for the executor alone is 15 times the speed of an engine built per request, and \
         at most 25 µs more than a cached script. The remaining cost is explained in \
         [decision 6](decisions/0006-what-a-fresh-sandbox-costs.md).\n"
    )?;
    Ok(())
}

fn interpreter(out: &mut String, figures: &Figures<'_>) -> Result<(), Error> {
    writeln!(out, "## The interpreter\n")?;
    writeln!(out, "Metered wasm against native Rhai, whole executions, one at a time.\n")?;
    writeln!(out, "| script | sandbox | native | sandbox ÷ native |")?;
    writeln!(out, "| --- | ---: | ---: | ---: |")?;
    let mut logarithms = 0.0;
    for (script, _) in INTERPRETER {
        let sandbox = figures.median_ns("interpreter", &format!("{script}/sandbox"))?;
        let native = figures.median_ns("interpreter", &format!("{script}/native"))?;
        logarithms += (sandbox / native).ln();
        writeln!(
            out,
            "| {script} | {} | {} | {:.2}× |",
            micros(sandbox),
            micros(native),
            sandbox / native
        )?;
    }
    let mean = (logarithms / INTERPRETER.len() as f64).exp();
    writeln!(out, "| geometric mean | | | {mean:.2}× |\n")?;
    writeln!(
        out,
        "The target is 1.6×. [Decision 16](decisions/0016-fuel-is-paid-at-branches.md) gives the cost \
         of fuel. [Decision 5](decisions/0005-what-metering-costs.md) explains why scripts that create \
         and drop many values cost more.\n"
    )?;
    Ok(())
}

fn events(out: &mut String, figures: &Figures<'_>) -> Result<(), Error> {
    writeln!(out, "## Events\n")?;
    writeln!(
        out,
        "Through a real script: 64 callers append {EVENTS} events one by one. Each event is on disk \
         before the caller continues, runs in its own sandbox, and is acknowledged together with \
         the execution's row. SQLite with `synchronous=FULL`, PostgreSQL with `fsync` on the same \
         machine. *Idle* is the time from appending an event to the start of its script on an idle \
         host.\n"
    )?;
    writeln!(out, "| database | events per second | target | idle | target |")?;
    writeln!(out, "| --- | ---: | ---: | ---: | ---: |")?;
    for database in ["sqlite", "postgres"] {
        let all = figures.median_ns("events", &format!("{database}/throughput"))?;
        let idle = figures.median_ns("events", &format!("{database}/enqueue-to-start"))?;
        writeln!(
            out,
            "| {database} | {:.0} | 10000 | {:.1} ms | 10 ms |",
            EVENTS as f64 * 1e9 / all,
            idle / 1e6
        )?;
    }
    writeln!(out)?;
    Ok(())
}

fn micros(nanos: f64) -> String {
    format!("{:.1} µs", nanos / 1000.0)
}

/// Describes the machine of the measurements.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, name)| name);
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = read("/proc/meminfo");
    let memory_kib = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok()
        })
        .unwrap_or(0);
    format!(
        "{cores} cores of {cpu}, {} GiB, Linux {}",
        memory_kib.div_ceil(1 << 20),
        kernel.split('-').next().unwrap_or_default().trim()
    )
}
