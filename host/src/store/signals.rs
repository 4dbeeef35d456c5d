//! The changes of a commit, and the signals that announce them.

use tokio::sync::watch;
use tokio::time::Instant;

use super::DatabaseTime;

/// The kind of change of an operation, for caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touches {
    /// Nothing that is announced.
    Records,
    /// Events that can be claimed.
    Outbox,
    /// Messages that are reassigned: events that can be claimed, and possibly more messages to
    /// move.
    Messages,
    /// Apps, domains, scripts or routes.
    Definitions,
    /// Triggers: a change of the definitions, and events that can be claimed, because a new trigger
    /// takes the pending messages.
    Triggers,
}

impl Touches {
    pub(super) fn changes_definitions(self) -> bool {
        matches!(self, Self::Definitions | Self::Triggers)
    }
}

/// The signals of commits; each is a growing number.
#[derive(Clone)]
pub(super) struct Signals {
    /// The definitions have changed.
    pub(super) revision: watch::Sender<u64>,
    /// Events can be claimed.
    pub(super) outbox: watch::Sender<u64>,
    /// File contents were freed.
    pub(super) freed: watch::Sender<u64>,
    /// A change can have left clean-up work.
    pub(super) remains: watch::Sender<u64>,
    /// When an event can next be claimed on a shared database, as of the last look.
    pub(super) due_at: watch::Sender<Option<Instant>>,
    /// The reading of a shared database's clock at the last look.
    pub(super) time: watch::Sender<Option<DatabaseTime>>,
}

impl Default for Signals {
    fn default() -> Self {
        let signal = || watch::channel(0).0;
        let (due_at, time) = (watch::channel(None).0, watch::channel(None).0);
        Self {
            revision: signal(),
            outbox: signal(),
            freed: signal(),
            remains: signal(),
            due_at,
            time,
        }
    }
}

impl Signals {
    pub(super) fn tell_freed(&self) {
        self.freed.send_modify(|count| *count += 1);
    }

    pub(super) fn tell(&self, touched: Touches) {
        if touched.changes_definitions() {
            self.revision.send_modify(|count| *count += 1);
        }
        if matches!(touched, Touches::Definitions | Touches::Triggers | Touches::Messages) {
            self.remains.send_modify(|count| *count += 1);
        }
        if matches!(touched, Touches::Outbox | Touches::Triggers | Touches::Messages) {
            self.outbox.send_modify(|count| *count += 1);
        }
    }
}
