//! The one constructor of an event.
//!
//! Invariant: nothing else makes a [`NewEvent`].

use serde_json::Value;

use crate::clock::Clock;
use crate::store::{AppId, EventId, ExecutionId, Json, NewEvent, Trigger, TriggerKind};

/// What all events of one cause have in common.
pub(crate) struct Common<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) app_id: &'a AppId,
    /// As whom a script runs that no trigger brings.
    pub(crate) principal: &'a str,
    /// Number of events that led to these, these included.
    pub(crate) depth: i64,
    /// The execution that caused them.
    pub(crate) caused_by: Option<&'a ExecutionId>,
    /// When they happened, in microseconds.
    pub(crate) created_at: i64,
}

impl Common<'_> {
    /// An event that no trigger brings, with its payload as it is stored.
    pub(crate) fn stored(
        &self,
        kind: TriggerKind,
        operation: &str,
        source: &str,
        payload: Json,
    ) -> NewEvent {
        NewEvent {
            id: EventId::from(self.clock.new_id()),
            app_id: self.app_id.clone(),
            trigger_id: None,
            script_id: None,
            script_version: None,
            kind,
            operation: operation.to_owned(),
            source: source.to_owned(),
            payload,
            principal: self.principal.to_owned(),
            depth: self.depth,
            delay_us: 0,
            reply_to: None,
            dedupe_key: None,
            dead_letter_id: None,
            caused_by: self.caused_by.cloned(),
            created_at: self.created_at,
        }
    }

    /// An event that no trigger brings.
    pub(crate) fn event(
        &self,
        kind: TriggerKind,
        operation: &str,
        source: &str,
        details: &Value,
    ) -> NewEvent {
        self.stored(kind, operation, source, Json::from_text(details.to_string()))
    }

    /// An event that a trigger brings to its script, as the principal who registered it.
    pub(crate) fn by_trigger(
        &self,
        trigger: &Trigger,
        operation: &str,
        source: &str,
        details: &Value,
    ) -> NewEvent {
        brought_by(trigger, self.event(trigger.detail.kind(), operation, source, details))
    }
}

/// The event, brought by this trigger.
pub(crate) fn brought_by(trigger: &Trigger, mut event: NewEvent) -> NewEvent {
    event.trigger_id = Some(trigger.id.clone());
    event.script_id = Some(trigger.script_id.clone());
    event.principal = trigger.registered_by_principal.clone();
    event
}
