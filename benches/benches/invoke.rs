//! What an execution costs: against a native engine built for each request, a
//! cached native script, and the interpreter without a sandbox around it.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use picloud_benches::{
    ECHO, HANDLER, INTERPRETER, Sandboxes, equipped_engine, native_engine, run_natively, run_once,
};
use tokio::runtime::Runtime;

#[expect(clippy::unwrap_used, reason = "a bench that cannot start has nothing to measure")]
fn executions(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let sandboxes = runtime.block_on(async { Sandboxes::start() });
    let mut group = criterion.benchmark_group("execution");
    group.sample_size(40).measurement_time(Duration::from_secs(4));

    for (name, source) in [("empty", "()"), ("echo", ECHO), ("handler", HANDLER)] {
        group.bench_function(format!("{name}/sandbox"), |bencher| {
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
