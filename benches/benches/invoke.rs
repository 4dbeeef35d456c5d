//! The cost of an execution, compared with a native engine built per request, a cached native
//! script, and the interpreter without a sandbox.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use picloud_benches::{
    ECHO, HANDLER, INTERPRETER, Sandboxes, equipped_engine, native_engine, run_natively, run_once,
    run_once_here,
};
use tokio::runtime::Runtime;

/// The number of concurrent executions while their cost is measured. It is high enough that no
/// thread waits, so that waking threads is not part of the cost.
const IN_FLIGHT: u64 = 16;

#[expect(clippy::unwrap_used, reason = "a bench that cannot start has nothing to measure")]
fn executions(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let sandboxes = runtime.block_on(async { Sandboxes::start() });
    let mut group = criterion.benchmark_group("execution");
    group.sample_size(40).measurement_time(Duration::from_secs(4));

    for (name, source) in [("empty", "()"), ("echo", ECHO), ("handler", HANDLER)] {
        group.bench_function(format!("{name}/sandbox"), |bencher| {
            let image = runtime.block_on(sandboxes.image(source));
            bencher.iter_custom(|count| runtime.block_on(occupied_time(&sandboxes, &image, count)));
        });
        group.bench_function(format!("{name}/sandbox-here"), |bencher| {
            let image = runtime.block_on(sandboxes.image(source));
            bencher.iter_custom(|count| {
                let started = Instant::now();
                runtime.block_on(async {
                    for _ in 0..count {
                        run_once_here(&sandboxes.executor, &image).await;
                    }
                });
                started.elapsed()
            });
        });
        group.bench_function(format!("{name}/sandbox-latency"), |bencher| {
            let image = runtime.block_on(sandboxes.image(source));
            bencher.iter(|| runtime.block_on(run_once(&sandboxes.executor, image.clone())));
        });
        group.bench_function(format!("{name}/native-cached"), |bencher| {
            let engine = equipped_engine();
            let ast = engine.compile(source).unwrap();
            bencher.iter(|| black_box(run_natively(&engine, &ast)));
        });
        group.bench_function(format!("{name}/native-per-request"), |bencher| {
            bencher.iter(|| {
                let engine = equipped_engine();
                let ast = engine.compile(source).unwrap();
                black_box(run_natively(&engine, &ast))
            });
        });
    }
    group.finish();
}

/// Returns the time that `count` executions occupy one thread: the total time multiplied by the
/// number of threads.
async fn occupied_time(
    sandboxes: &Sandboxes,
    image: &picloud::executor::Image,
    count: u64,
) -> Duration {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let started = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..IN_FLIGHT.min(count) {
        let (executor, image) = (sandboxes.executor.clone(), image.clone());
        let share = count / IN_FLIGHT + u64::from(lane < count % IN_FLIGHT);
        lanes.spawn(async move {
            for _ in 0..share {
                run_once(&executor, image.clone()).await;
            }
        });
    }
    lanes.join_all().await;
    started.elapsed() * u32::try_from(threads).unwrap_or(1)
}

#[expect(clippy::unwrap_used, reason = "a bench that cannot start has nothing to measure")]
fn interpreter(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let sandboxes = runtime.block_on(async { Sandboxes::start() });
    let mut group = criterion.benchmark_group("interpreter");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for (name, source) in INTERPRETER {
        group.bench_function(format!("{name}/sandbox"), |bencher| {
            let image = runtime.block_on(sandboxes.image(source));
            bencher.iter(|| runtime.block_on(run_once(&sandboxes.executor, image.clone())));
        });
        group.bench_function(format!("{name}/native"), |bencher| {
            let engine = native_engine();
            let ast = engine.compile(source).unwrap();
            bencher.iter(|| black_box(run_natively(&engine, &ast)));
        });
    }
    group.finish();
}

criterion_group!(invoke, executions, interpreter);
criterion_main!(invoke);
