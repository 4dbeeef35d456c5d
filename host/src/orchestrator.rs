//! What brings work to the executor and its results back.
//!
//! ```text
//! ingress/   HTTP in and out again; the test panel's endpoint
//! matching   which script answers a request; pure
//! table      the matching of the newest definitions
//! dispatch   one run from its target to its row
//! retention  old executions go
//! ```
//!
//! Invariant: it never talks to the manager; both meet in the store.

mod dispatch;
pub mod ingress;
pub mod matching;
pub mod retention;
mod table;

use std::sync::Arc;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::executor::Executor;
use crate::limits::Limits;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What the orchestrator works with.
#[derive(Clone)]
pub struct Parts {
    /// Where definitions come from and rows go.
    pub store: Store,
    /// What runs scripts.
    pub executor: Executor,
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
}

/// Runs scripts for whoever asks. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator {
    parts: Arc<Parts>,
    table: Arc<table::CurrentTable>,
}

impl Orchestrator {
    /// An orchestrator that has not read the definitions yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), table: Arc::default() }
    }
}
