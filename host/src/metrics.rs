//! The metrics of a process.
//!
//! Invariant: metrics contain only numbers and fixed names, never text of a script or a request, so
//! that the number of series is bounded. The only exception is the names of a bounded number of
//! apps: see [`work`].

mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use self::work::{APPS_MAX, Backlog, Firings};

/// The state of the execution slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The number of slots.
    pub size: usize,
    /// The number of slots in use.
    pub in_use: usize,
    /// The number of executions that wait for a slot.
    pub waiting: usize,
}

/// The storage use of all apps, for one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The name of the limit.
    pub limit: &'static str,
    /// The number of resources or bytes.
    pub used: i64,
    /// The number of writes that this process has refused because of the limit.
    pub refused: u64,
}

/// The upper bounds of the execution time buckets, in seconds: from the time of a typical script to
/// the default maximum wall-clock time.
const DURATION_BUCKETS_S: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLimit {
    limit: &'static str,
}

/// The metrics of a process. Cheap to clone; every clone counts the same.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    executions: Family<ByStatus, Counter>,
    execution_duration: Histogram,
    fuel: Counter,
    http_requests: Family<ByStatus, Counter>,
    slots: Gauge,
    slots_in_use: Gauge,
    slots_waiting: Gauge,
    store_up: Gauge,
    storage: Family<ByLimit, Gauge>,
    freed_file_bytes: Gauge,
    storage_refused: Family<ByLimit, Counter>,
    body_bytes: Gauge<u64, AtomicU64>,
    bodies_refused: Counter,
    work: work::Work,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut inner = Inner {
            registry: Registry::with_prefix("picloud"),
            executions: Family::default(),
            execution_duration: Histogram::new(DURATION_BUCKETS_S),
            fuel: Counter::default(),
            http_requests: Family::default(),
            slots: Gauge::default(),
            slots_in_use: Gauge::default(),
            slots_waiting: Gauge::default(),
            store_up: Gauge::default(),
            storage: Family::default(),
            freed_file_bytes: Gauge::default(),
            storage_refused: Family::default(),
            body_bytes: Gauge::default(),
            bodies_refused: Counter::default(),
            work: work::Work::default(),
        };
        inner.register();
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("executions", "Executions by status", self.executions.clone());
        registry.register(
            "execution_duration_seconds",
            "Duration of executions",
            self.execution_duration.clone(),
        );
        registry.register("fuel", "Wasm instructions of all executions", self.fuel.clone());
        registry.register(
            "http_requests",
            "HTTP responses by status class",
            self.http_requests.clone(),
        );
        registry.register("slots", "Maximum number of concurrent executions", self.slots.clone());
        registry.register("slots_in_use", "Running executions", self.slots_in_use.clone());
        registry.register(
            "slots_waiting",
            "Executions waiting for a slot",
            self.slots_waiting.clone(),
        );
        registry.register("store_up", "1 if the database is reachable", self.store_up.clone());
        registry.register("storage", "Storage use of all apps, by limit", self.storage.clone());
        registry.register(
            "freed_file_bytes",
            "Bytes of overwritten or deleted files that are not removed yet",
            self.freed_file_bytes.clone(),
        );
        registry.register(
            "storage_refused",
            "Writes refused because the app's storage is full, by limit",
            self.storage_refused.clone(),
        );
        registry.register(
            "request_body_bytes",
            "Bytes of request bodies in memory",
            self.body_bytes.clone(),
        );
        registry.register(
            "request_bodies_refused",
            "Request bodies refused because the memory budget was exhausted",
            self.bodies_refused.clone(),
        );
        self.work.register(registry);
    }
}

impl Metrics {
    /// Counts a dead letter.
    pub fn buried(&self, kind: &'static str) {
        self.inner.work.buried(kind);
    }

    /// Counts the firings of a schedule by outcome.
    pub fn fired(&self, firings: Firings) {
        self.inner.work.fired(firings);
    }

    /// Records the number of enabled schedules that cannot be read.
    pub fn cannot_read_schedules(&self, count: usize) {
        self.inner.work.cannot_read_schedules(count);
    }

    /// Starts the dead letter counters of these kinds at 0, so that the first dead letter is an
    /// increase.
    pub fn start_kinds(&self, kinds: impl IntoIterator<Item = &'static str>) {
        self.inner.work.start_kinds(kinds);
    }

    /// Records the events in the outboxes of all apps.
    pub fn waits(&self, backlog: Backlog) {
        self.inner.work.waits(backlog);
    }

    /// Records the number of unresolved dead letters: of all apps, and of at most [`APPS_MAX`] apps
    /// by name.
    pub fn unresolved_dead_letters(
        &self,
        all: i64,
        by_app: impl IntoIterator<Item = (String, i64)>,
    ) {
        self.inner.work.unresolved(all, by_app);
    }

    /// Records the age of the last check for changed definitions.
    pub fn definitions_age(&self, age: Duration) {
        self.inner.work.definitions_age(age);
    }

    /// Counts a finished execution: its status, its duration in microseconds, and its fuel.
    pub fn executed(&self, status: &'static str, duration_us: i64, fuel_used: u64) {
        self.inner.executions.get_or_create(&ByStatus { status }).inc();
        self.inner.execution_duration.observe(duration_us as f64 / 1e6);
        self.inner.fuel.inc_by(fuel_used);
    }

    /// Counts a handled HTTP request.
    pub fn answered(&self, status: u16) {
        let status = match status {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        self.inner.http_requests.get_or_create(&ByStatus { status }).inc();
    }

    /// Records the storage use of all apps. `freed_bytes` is the size of file contents that will be
    /// removed.
    pub fn keeps(&self, stored: impl IntoIterator<Item = Stored>, freed_bytes: i64) {
        self.inner.freed_file_bytes.set(freed_bytes);
        for Stored { limit, used, refused } in stored {
            self.inner.storage.get_or_create(&ByLimit { limit }).set(used);
            let counter = self.inner.storage_refused.get_or_create(&ByLimit { limit });
            counter.inner().store(refused, Ordering::Relaxed);
        }
    }

    /// Returns the gauge of request body bytes in memory, and the counter of refused bodies.
    #[must_use]
    pub fn bodies(&self) -> (Gauge<u64, AtomicU64>, Counter) {
        (self.inner.body_bytes.clone(), self.inner.bodies_refused.clone())
    }

    /// Returns all metrics in the OpenMetrics text format, with the given current values.
    ///
    /// # Errors
    /// Never in practice: a `String` accepts everything.
    pub fn encode(&self, slots: &Slots, store_is_up: bool) -> Result<String, std::fmt::Error> {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.inner.slots.set(gauge(slots.size));
        self.inner.slots_in_use.set(gauge(slots.in_use));
        self.inner.slots_waiting.set(gauge(slots.waiting));
        self.inner.store_up.set(i64::from(store_is_up));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.inner.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::default();
        metrics.executed("success", 1_500, 7);
        metrics.executed("timeout", 10_000_000, 8);
        metrics.answered(204);
        metrics.answered(503);
        let slots = Slots { size: 64, in_use: 3, waiting: 1 };
        let text = metrics.encode(&slots, true).unwrap();
        for line in [
            "picloud_executions_total{status=\"success\"} 1",
            "picloud_executions_total{status=\"timeout\"} 1",
            "picloud_execution_duration_seconds_bucket{le=\"0.0025\"} 1",
            "picloud_fuel_total 15",
            "picloud_http_requests_total{status=\"2xx\"} 1",
            "picloud_http_requests_total{status=\"5xx\"} 1",
            "picloud_slots 64",
            "picloud_slots_in_use 3",
            "picloud_store_up 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
    }
}
