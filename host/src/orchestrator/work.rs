//! What is to be run, where it comes from, and how it ended.

use std::sync::Arc;

use picloud_shared::execution::Input;

use crate::definitions::Target;
use crate::executor::Outcome;
use crate::store::{AuditEntry, EventId, ExecutionId, TriggerId, TriggerKind};

/// What is to be run.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) target: Arc<Target>,
    pub(super) kind: TriggerKind,
    pub(super) input: Input,
    pub(super) origin: Origin,
}

/// Where a run comes from.
#[derive(Clone)]
pub(super) struct Origin {
    /// The event, if there is one in the outbox.
    pub(super) event_id: Option<EventId>,
    pub(super) trigger_id: Option<TriggerId>,
    /// From 1.
    pub(super) attempt: i64,
    /// How many events led to it.
    pub(super) depth: i64,
    /// As whom it runs.
    pub(super) principal: String,
    /// The execution that caused the event.
    pub(super) caused_by: Option<ExecutionId>,
    /// Who has it run by hand.
    pub(super) audit: Option<Arc<AuditEntry>>,
}

impl Origin {
    /// A request that is served at once.
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

    /// A run by hand, which is recorded with this entry of the audit log.
    pub(super) fn by_hand(entry: AuditEntry) -> Self {
        Self { audit: Some(Arc::new(entry)), ..Self::request() }
    }
}

/// A run that has ended and been recorded.
#[derive(Clone)]
pub(super) struct Finished {
    pub(super) execution_id: ExecutionId,
    pub(super) outcome: Outcome,
}
