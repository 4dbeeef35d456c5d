//! Events through a real script: stored, run and acknowledged, on both databases; and how soon a
//! script starts on an idle host.
//!
//! Measures PostgreSQL if PICLOUD_TEST_POSTGRES_URL names a server.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use picloud_benches::events::{EVENTS, Platform};
use tokio::runtime::Runtime;

#[expect(clippy::unwrap_used, reason = "a bench that cannot start has nothing to measure")]
fn events(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("events");
    group.sample_size(10).warm_up_time(Duration::from_secs(2));
    for (name, url) in picloud_benches::events::databases() {
        let platform = runtime.block_on(Platform::start(url.as_deref()));
        group.throughput(Throughput::Elements(EVENTS));
        group.measurement_time(Duration::from_secs(8));
        group.bench_function(format!("{name}/throughput"), |bencher| {
            bencher.iter_custom(|count| {
                let started = Instant::now();
                runtime.block_on(async {
                    for _ in 0..count {
                        platform.send_and_wait(EVENTS).await;
                    }
                });
                started.elapsed()
            });
        });
        group.throughput(Throughput::Elements(1));
        group.measurement_time(Duration::from_secs(3));
        group.bench_function(format!("{name}/enqueue-to-start"), |bencher| {
            bencher.iter_custom(|count| runtime.block_on(platform.time_to_start(count)));
        });
        runtime.block_on(platform.stop());
    }
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
