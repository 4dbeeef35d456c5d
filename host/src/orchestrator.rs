//! Sends requests and events to the executor, and its results back.
//!
//! ```text
//! ingress/   public requests and their responses
//! execute    the endpoints of the test panel
//! work       a run's input and origin, and its outcome
//! run        one run, from its target to its commit
//! to_the_end work that continues when its caller is dropped
//! tries      reruns while the data that a run reads keeps changing
//! rows       the rows that record a run
//! answer     the stored response to an idempotency key
//! inbox      callers that wait for the response to an event
//! dispatcher the loop that delivers events
//! deliver    one event, from its claim to its acknowledgement
//! scheduler  fires due schedules
//! ```
//!
//! Invariant: it never calls the manager. Both share the store.

mod answer;
mod deliver;
pub mod dispatcher;
pub mod execute;
mod inbox;
pub mod ingress;
mod rows;
mod run;
pub mod scheduler;
mod to_the_end;
mod tries;
mod work;

use std::ops::Deref;
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
use crate::store::{self, AppId, Backoff, Commit, Committed, EventId, Store};

/// The services and settings that the orchestrator uses.
#[derive(Clone)]
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The newest definitions.
    pub definitions: Arc<Current>,
    /// Runs scripts.
    pub executor: Executor,
    /// Reads the secrets of apps, which protect routes and stored requests.
    pub secrets: Secrets,
    /// Provides the time and ids.
    pub clock: Clock,
    /// Identifies callers who can see a script's errors.
    pub auth: Auth,
    /// The metrics.
    pub metrics: Metrics,
    /// The limits that no script can exceed.
    pub ceiling: Limits,
    /// The largest request body, in bytes.
    pub request_bytes_max: usize,
    /// The limits for parsing forms.
    pub form_limits: FormLimits,
    /// Whether each response is logged.
    pub logs_access: bool,
    /// The settings for delivering events.
    pub events: EventSettings,
    /// The limits of apps that set none of their own.
    pub ingress: IngressSettings,
    /// The name of this process.
    pub node: String,
}

/// The settings for delivering events.
#[derive(Clone, Debug)]
pub struct EventSettings {
    /// The maximum number of events that run at once.
    pub concurrency: usize,
    /// The maximum length of a chain of events that cause each other.
    pub depth_max: i64,
    /// The retry policy of triggers that set none of their own.
    pub retry: retry::Policy,
    /// The time after which a claim expires unless it is renewed, in milliseconds.
    pub lease_ms: u64,
    /// The time that the caller of a `durable` route waits, in milliseconds.
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

/// The principal of runs that an outside request starts. A route belongs to the app, no matter who
/// created it.
const OWNER: &str = "owner";

/// Runs scripts for requests and events. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator(Arc<Inner>);

/// The part that all clones share.
pub struct Inner {
    parts: Parts,
    inbox: Arc<inbox::Inbox>,
    throttle: Throttle,
    /// The revision of the definitions that the throttle was last updated with.
    throttled_by: AtomicI64,
    turns: tries::Turns,
    /// Limits how many events run at once, so that requests find free slots.
    event_slots: Shares<AppId>,
}

impl Deref for Orchestrator {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Orchestrator {
    /// Creates an orchestrator that has not read the definitions yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let throttle = Throttle::new(parts.clock.clone(), parts.ingress.clone());
        Self(Arc::new(Inner {
            event_slots: Shares::new(parts.events.concurrency),
            parts,
            inbox: Arc::default(),
            throttle,
            throttled_by: AtomicI64::default(),
            turns: tries::Turns::default(),
        }))
    }

    /// Tells the callers that wait for this event that it was cancelled.
    pub fn tell_cancelled(&self, id: &EventId) {
        self.inbox.cancel(id);
    }

    /// Returns the current table of the definitions.
    ///
    /// # Errors
    /// Errors of the store if the definitions must be read.
    async fn table(&self) -> Result<Arc<Table>, store::Error> {
        let table = self.parts.definitions.table().await?;
        // Compared on every read, because commits read the table too.
        let revision = table.revision();
        if self.throttled_by.swap(revision, Ordering::Relaxed) != revision {
            self.throttle.forget_all_but(&table);
        }
        Ok(table)
    }

    /// Calls [`Current::commit`].
    async fn commit_with(
        &self,
        make: impl FnMut(&Table) -> Result<Commit, Error>,
    ) -> Result<Committed, Error> {
        Ok(self.parts.definitions.commit(make).await?.0)
    }
}
