//! What brings work to the executor and its results back.
//!
//! ```text
//! ingress/   HTTP in and out again; the test panel's endpoint
//! work       what is to be run, and how it ended
//! run        one run from its target to its commit
//! rows       what is kept of a run
//! answer     the first answer to an idempotency key
//! inbox      callers who wait for the answer to an event
//! dispatcher the loop that carries out events
//! deliver    one event from its claim to its acknowledgement
//! scheduler  schedules that come due
//! retention  what is old goes
//! ```
//!
//! Invariant: it never talks to the manager; both meet in the store.

mod answer;
mod deliver;
pub mod dispatcher;
mod inbox;
pub mod ingress;
pub mod remains;
pub mod retention;
mod rows;
mod run;
pub mod scheduler;
pub mod sweep;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub use self::ingress::throttle::IngressSettings;
use self::ingress::throttle::Throttle;
use crate::auth::Auth;
use crate::clock::Clock;
use crate::definitions::{Current, Table};
use crate::error::Error;
use crate::events::retry;
use crate::executor::Executor;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::requests::form::FormLimits;
use crate::secrets::Secrets;
use crate::shares::Shares;
use crate::store::{self, AppId, Backoff, Commit, Committed, Store};

/// What the orchestrator works with.
#[derive(Clone)]
pub struct Parts {
    /// Where definitions come from and rows go.
    pub store: Store,
    /// What runs scripts.
    pub executor: Executor,
    /// What routes are guarded with.
    pub secrets: Secrets,
    /// Time and ids.
    pub clock: Clock,
    /// Who sees more than a caller.
    pub auth: Auth,
    /// What is counted.
    pub metrics: Metrics,
    /// What no script gets more of.
    pub ceiling: Limits,
    /// The largest request body, in bytes.
    pub request_bytes_max: usize,
    /// How much of a form is read.
    pub form_limits: FormLimits,
    /// Whether each answer has a line in the log.
    pub logs_access: bool,
    /// How events are carried out.
    pub events: EventSettings,
    /// What an app gets that has no limits of its own.
    pub ingress: IngressSettings,
    /// Names this process.
    pub node: String,
}

/// How events are carried out.
#[derive(Clone, Debug)]
pub struct EventSettings {
    /// How many run at once.
    pub concurrency: usize,
    /// How many may lead to one another.
    pub depth_max: i64,
    /// What to do when a script fails, unless its trigger says otherwise.
    pub retry: retry::Policy,
    /// For how long a claim holds without being renewed, in milliseconds.
    pub lease_ms: u64,
    /// For how long the caller of a `durable` route waits, in milliseconds.
    pub reply_wait_ms: u64,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            concurrency: 32,
            depth_max: 16,
            retry: retry::Policy {
                attempts_max: 5,
                backoff: Backoff::Exponential,
                base_ms: 1_000,
                cap_ms: 300_000,
                jitter: 0.2,
            },
            lease_ms: 15_000,
            reply_wait_ms: 25_000,
        }
    }
}

impl EventSettings {
    fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    fn lease_us(&self) -> i64 {
        i64::try_from(self.lease_ms.saturating_mul(1000)).unwrap_or(i64::MAX)
    }

    fn reply_wait(&self) -> Duration {
        Duration::from_millis(self.reply_wait_ms)
    }
}

/// As whom runs what a request from outside has started: a route is the app's, whoever
/// has made it.
const OWNER: &str = "owner";

/// Runs scripts for whoever asks. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator {
    parts: Arc<Parts>,
    definitions: Arc<Current>,
    inbox: Arc<inbox::Inbox>,
    throttle: Arc<Throttle>,
    /// The revision of the definitions that the throttle has seen last.
    throttled_by: Arc<AtomicI64>,
    turns: Arc<run::Turns>,
    /// How many events run at once, so that requests find slots.
    event_slots: Arc<Shares<AppId>>,
}

impl Orchestrator {
    /// An orchestrator that has not read the definitions yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let throttle = Throttle::new(parts.clock.clone(), parts.ingress.clone());
        Self {
            event_slots: Arc::new(Shares::new(parts.events.concurrency)),
            definitions: Arc::new(Current::new(parts.store.clone(), parts.metrics.clone())),
            parts: Arc::new(parts),
            inbox: Arc::default(),
            throttle: Arc::new(throttle),
            throttled_by: Arc::default(),
            turns: Arc::default(),
        }
    }

    /// The table of the definitions as of now.
    ///
    /// # Errors
    /// From the store, when the definitions have to be read.
    async fn table(&self) -> Result<Arc<Table>, store::Error> {
        let table = self.definitions.table().await?;
        // Whoever has read it: a commit reads the table too.
        let revision = table.revision();
        if self.throttled_by.swap(revision, Ordering::Relaxed) != revision {
            self.throttle.forget_all_but(&table);
        }
        Ok(table)
    }

    /// [`Current::commit`].
    async fn commit_with(
        &self,
        make: impl FnMut(&Table) -> Result<Commit, Error>,
    ) -> Result<Committed, Error> {
        Ok(self.definitions.commit(make).await?.0)
    }
}
