//! The only constructor of an event.
//!
//! Invariant: no other module constructs a [`NewEvent`].

use serde_json::{Map, Value};

use super::sent::Unsendable;
use super::{form, payload, rules};
use crate::clock::Clock;
use crate::error::{Error, Refusal};
use crate::store::{AppId, DeadLetter, EventId, ExecutionId, Json, NewEvent, Trigger, TriggerKind};

/// The common fields of all events with one cause.
pub(crate) struct Common<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) app_id: &'a AppId,
    /// The principal that a script runs as if no trigger delivers the event.
    pub(crate) principal: &'a str,
    /// The number of events that led to these, including these.
    pub(crate) depth: i64,
    /// The execution that caused them.
    pub(crate) caused_by: Option<&'a ExecutionId>,
    /// When the cause happened, in microseconds.
    pub(crate) created_at: i64,
}

impl Common<'_> {
    /// Returns an event without a trigger, from a payload in its stored form.
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

    /// Returns an event without a trigger.
    pub(crate) fn event(
        &self,
        kind: TriggerKind,
        operation: &str,
        source: &str,
        details: &Value,
    ) -> NewEvent {
        self.stored(kind, operation, source, Json::from_text(details.to_string()))
    }

    /// Returns an event that a trigger delivers to its script, as the principal who registered it.
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

/// Changes to the made-up event of a trigger that is fired by hand.
pub(crate) struct Fired {
    /// The operation; `None` means the first one that the trigger fires on.
    pub(crate) operation: Option<String>,
    /// Members that replace those of the made-up details.
    pub(crate) members: Map<String, Value>,
}

impl Common<'_> {
    /// Returns the made-up event of a trigger that is fired by hand.
    ///
    /// # Errors
    /// `Unsendable` if a payload in the details has more than `payload_bytes_max` bytes or nests
    /// too deep, or if the operation breaks a rule.
    pub(crate) fn fired(
        &self,
        trigger: &Trigger,
        fired: Fired,
        payload_bytes_max: u64,
    ) -> Result<NewEvent, Unsendable> {
        let (operation, source, mut details) = form::made_up(&trigger.detail, self.created_at);
        if let Value::Object(details) = &mut details {
            details.extend(fired.members);
        }
        payload::check_details(trigger.detail.kind(), &details, payload_bytes_max)?;
        let operation = fired.operation.unwrap_or(operation);
        rules::check_name("operation", "an operation", &operation, rules::NAME_BYTES_MAX)?;
        Ok(self.by_trigger(trigger, &operation, &source, &details))
    }
}

/// Returns the event of a dead letter again, with this payload.
///
/// # Errors
/// `Conflict` if the event is deeper than `depth_max`, because it would fail again.
pub(crate) fn replayed(
    clock: &Clock,
    letter: DeadLetter,
    payload: Json,
    same_version: bool,
    depth_max: i64,
) -> Result<NewEvent, Error> {
    if letter.depth > depth_max {
        let refusal = Refusal::new("event_too_deep", "the chain of triggers is too long");
        let refusal = refusal.with("limit", "trigger_depth").with("used", letter.depth);
        return Err(Error::Conflict(refusal.with("most", depth_max)));
    }
    let common = Common {
        clock,
        app_id: &letter.app_id,
        principal: &letter.principal,
        depth: letter.depth,
        caused_by: None,
        created_at: clock.now_us(),
    };
    let mut event = common.stored(letter.kind, &letter.operation, &letter.source, payload);
    event.trigger_id = letter.trigger_id;
    event.script_version = same_version.then_some(letter.script_version);
    event.script_id = Some(letter.script_id);
    Ok(event)
}

/// Assigns the event to this trigger.
fn brought_by(trigger: &Trigger, mut event: NewEvent) -> NewEvent {
    event.trigger_id = Some(trigger.id.clone());
    event.script_id = Some(trigger.script_id.clone());
    event.principal = trigger.registered_by_principal.clone();
    event
}
