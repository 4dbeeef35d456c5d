//! What a commit changes, and who is told of it.

use tokio::sync::watch;
use tokio::time::Instant;

use super::DatabaseTime;

/// What an operation changes, so that caches know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touches {
    /// Nothing that anybody is told of.
    Records,
    /// What the outbox has to be looked at again for.
    Outbox,
    /// Messages that change hands: what the outbox has to be looked at again for, and what may be
    /// left to move.
    Messages,
    /// Apps, domains, scripts or routes.
    Definitions,
    /// Triggers: definitions, and what the outbox has to be looked at again for, because
    /// a new trigger takes the messages that wait.
    Triggers,
}

impl Touches {
    pub(super) fn changes_definitions(self) -> bool {
        matches!(self, Self::Definitions | Self::Triggers)
    }
}

/// What a commit tells whoever is interested, each by a number that grows.
#[derive(Clone)]
pub(super) struct Signals {
    /// Definitions have changed.
    pub(super) revision: watch::Sender<u64>,
    /// There may be something to claim.
    pub(super) outbox: watch::Sender<u64>,
    /// Contents of files were freed.
    pub(super) freed: watch::Sender<u64>,
    /// A change may have left work behind that is done in parts.
    pub(super) remains: watch::Sender<u64>,
    /// When there may be something to claim on a database that others use too, as of the last
    /// look.
    pub(super) due_at: watch::Sender<Option<Instant>>,
    /// What the clock of a database that others use too showed at the last look.
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
