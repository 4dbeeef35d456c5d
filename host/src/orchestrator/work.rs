//! The input of a run, its origin, and its result.

use std::sync::Arc;

use picloud_shared::execution::Input;

use crate::definitions::Target;
use crate::executor::Outcome;
use crate::store::{AuditEntry, EventId, ExecutionId, TriggerId, TriggerKind};

/// A run to start.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) target: Arc<Target>,
    pub(super) kind: TriggerKind,
    pub(super) input: Arc<Input>,
    pub(super) origin: Origin,
}

/// The origin of a run.
#[derive(Clone)]
pub(super) struct Origin {
    /// The event, if there is one in the outbox.
    pub(super) event_id: Option<EventId>,
    pub(super) trigger_id: Option<TriggerId>,
    /// The attempt, counted from 1.
    pub(super) attempt: i64,
    /// The number of events that led to the run.
    pub(super) depth: i64,
    /// The principal that the script runs as.
    pub(super) principal: String,
    /// The execution that caused the event.
    pub(super) caused_by: Option<ExecutionId>,
    /// The audit entry of a run that a user started by hand.
    pub(super) audit: Option<Arc<AuditEntry>>,
}

impl Origin {
    /// Returns the origin of a request that runs at once.
    pub(super) fn request() -> Self {
        Self {
            event_id: None,
            trigger_id: None,
            attempt: 1,
            depth: 0,
            principal: super::OWNER.to_owned(),
            caused_by: None,
            audit: None,
        }
    }

    /// Returns the origin of a run by hand, which writes this audit entry.
    pub(super) fn by_hand(entry: AuditEntry) -> Self {
        Self { audit: Some(Arc::new(entry)), ..Self::request() }
    }
}

/// A run that has ended and been recorded.
#[derive(Clone)]
pub(super) struct RecordedRun {
    pub(super) execution_id: ExecutionId,
    pub(super) outcome: Outcome,
}
