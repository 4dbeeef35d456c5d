//! Metrics of pending, late and failed work, for alerts.
//!
//! Invariant: at most [`APPS_MAX`] apps have their own series.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The maximum number of apps whose dead letters are reported by name.
pub const APPS_MAX: i64 = 20;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByApp {
    app: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// The firings of a schedule by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Firings {
    /// Fired at most a minute late.
    pub on_time: u64,
    /// Fired more than a minute late.
    pub late: u64,
    /// Not fired: the trigger's `misfire` option skips them, or there were too many.
    pub left_out: u64,
    /// Not fired: the trigger forbids overlap, and an earlier firing was not done.
    pub overlapped: u64,
}

/// The events in the outboxes of all apps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The number of pending events.
    pub waiting: i64,
    /// The number of events that a node has claimed.
    pub running: i64,
    /// How long the oldest due event has been due, in microseconds; 0 without one.
    pub oldest_due_age_us: i64,
}

/// The metrics of work.
#[derive(Default)]
pub(super) struct Work {
    events_waiting: Gauge,
    events_running: Gauge,
    oldest_due_age: Seconds,
    dead_letters: Family<ByKind, Counter>,
    unresolved: Gauge,
    unresolved_by_app: Family<ByApp, Gauge>,
    firings: Family<ByOutcome, Counter>,
    schedules_unreadable: Gauge,
    definitions_age: Seconds,
}

impl Work {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "events_waiting",
            "Pending events of all apps, at most 10000",
            self.events_waiting.clone(),
        );
        registry.register(
            "events_running",
            "Claimed events on all nodes: running or waiting for a slot",
            self.events_running.clone(),
        );
        registry.register_with_unit(
            "oldest_due_event_age",
            "Time since the oldest unclaimed event was due; 0 without one",
            Unit::Seconds,
            self.oldest_due_age.clone(),
        );
        registry.register(
            "dead_letters",
            "Events this process has dead-lettered, by kind",
            self.dead_letters.clone(),
        );
        registry.register(
            "dead_letters_unresolved",
            "Unresolved dead letters of all apps, at most 10000",
            self.unresolved.clone(),
        );
        registry.register(
            "app_dead_letters_unresolved",
            "Unresolved dead letters of each of the first 20 apps that have any, at most 1000",
            self.unresolved_by_app.clone(),
        );
        registry.register(
            "schedule_firings",
            "Firings of schedules by this process: on_time, late, left_out, overlapped",
            self.firings.clone(),
        );
        registry.register(
            "schedules_unreadable",
            "Enabled schedules that do not fire because this release cannot read them",
            self.schedules_unreadable.clone(),
        );
        registry.register_with_unit(
            "definitions_age",
            "Time since this process last checked for changes by other nodes",
            Unit::Seconds,
            self.definitions_age.clone(),
        );
        // Created at the start, so that the first firing is an increase.
        for outcome in ["on_time", "late", "left_out", "overlapped"] {
            drop(self.firings.get_or_create(&ByOutcome { outcome }));
        }
    }

    pub(super) fn start_kinds(&self, kinds: impl IntoIterator<Item = &'static str>) {
        for kind in kinds {
            drop(self.dead_letters.get_or_create(&ByKind { kind }));
        }
    }

    pub(super) fn buried(&self, kind: &'static str) {
        self.dead_letters.get_or_create(&ByKind { kind }).inc();
    }

    pub(super) fn fired(&self, firings: Firings) {
        let Firings { on_time, late, left_out, overlapped } = firings;
        for (outcome, count) in [
            ("on_time", on_time),
            ("late", late),
            ("left_out", left_out),
            ("overlapped", overlapped),
        ] {
            self.firings.get_or_create(&ByOutcome { outcome }).inc_by(count);
        }
    }

    pub(super) fn cannot_read_schedules(&self, count: usize) {
        self.schedules_unreadable.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn waits(&self, backlog: Backlog) {
        self.events_waiting.set(backlog.waiting);
        self.events_running.set(backlog.running);
        self.oldest_due_age.set(backlog.oldest_due_age_us as f64 / 1e6);
    }

    pub(super) fn unresolved(&self, all: i64, by_app: impl IntoIterator<Item = (String, i64)>) {
        self.unresolved.set(all);
        // An app without unresolved dead letters has no series.
        self.unresolved_by_app.clear();
        for (app, count) in by_app {
            self.unresolved_by_app.get_or_create(&ByApp { app }).set(count);
        }
    }

    pub(super) fn definitions_age(&self, age: std::time::Duration) {
        self.definitions_age.set(age.as_secs_f64());
    }
}
