//! Turns the effects of a run or of a manual change into the rows that the commit writes: the
//! changed entries, and the events they cause. Pure except for the ids.

use serde_json::Value;

use super::Common;
use super::effects::{Effects, EntryKey, Seen, Sight, Written};
use super::form;
use super::sent::{Enqueued, Message, Sent};
use crate::clock::Clock;
use crate::definitions::Table;
use crate::store::{
    AppId, Caused, CollectionKey, DeadLetter, ExecutionId, Json, NewEvent, Read, Space, Trigger,
    TriggerKind, Write,
};

/// The common fields of all events of one run or one manual change.
pub(crate) struct Cause<'a> {
    pub(crate) app_id: &'a AppId,
    /// The app's name; empty if it is no longer known.
    pub(crate) app: &'a str,
    /// The name of the script that ran, if one did.
    pub(crate) script: Option<&'a str>,
    /// The run; `None` for a manual change.
    pub(crate) execution_id: Option<&'a ExecutionId>,
    /// The depth of the run. Its events are one deeper.
    pub(crate) depth: i64,
    /// The principal that the script ran as.
    pub(crate) principal: &'a str,
    pub(crate) clock: &'a Clock,
    pub(crate) at: i64,
}

/// The rows that the commit writes.
pub(crate) struct Consequences {
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    pub(crate) events: Vec<Caused>,
}

/// Returns the rows that follow from a run's effects.
pub(crate) fn consequences(cause: &Cause<'_>, effects: &Effects, table: &Table) -> Consequences {
    let mut events = Vec::new();
    let mut writes = Vec::new();
    for (key, written) in effects.writes() {
        events.extend(of_change(cause, writes.len(), key, written, table));
        writes.push(write(cause, key, written));
    }
    let sent = effects.sent().iter().flat_map(|sent| cause.sent(sent, table));
    events.extend(sent.map(|event| Caused { event, of_write: None }));
    Consequences { reads: reads(cause.app_id, effects), writes, events }
}

/// Returns the new state of an entry as the row to write.
pub(crate) fn write(cause: &Cause<'_>, key: &EntryKey, written: &Written) -> Write {
    Write {
        collection: cause.collection(key.space, &key.collection),
        name: key.name.clone(),
        value: written.value.as_deref().map(|value| Json::from_text(value.to_owned())),
        expires_at: written.expires_at,
    }
}

/// Returns the events of the triggers that listen to a changed entry. `position` is the index of
/// the entry's write in the commit.
pub(crate) fn of_change(
    cause: &Cause<'_>,
    position: usize,
    key: &EntryKey,
    written: &Written,
    table: &Table,
) -> Vec<Caused> {
    let listeners = table.triggers().on_write(cause.app_id, key.space, &key.collection, &key.name);
    let details = of_write(key, written);
    listeners
        .map(|(trigger, operations)| Caused {
            event: cause.by_trigger(trigger, "", &key.collection, &details),
            of_write: Some((position, operations.clone())),
        })
        .collect()
}

/// Returns the events that report a dead letter, one per trigger that listens. They are one deeper
/// than the given-up event and are exempt from the depth limit. Returns none if that event is more
/// than one level past the limit, so that a handler that causes its own events stops.
pub(crate) fn told_of(
    cause: &Cause<'_>,
    letter: &DeadLetter,
    table: &Table,
    depth_max: i64,
) -> Vec<Caused> {
    if letter.depth > depth_max + 1 {
        return Vec::new();
    }
    let details = form::of_dead_letter(letter, cause.app);
    let triggers = table.triggers().on_dead_letter(
        &letter.app_id,
        letter.kind,
        letter.trigger_id.as_ref(),
        &letter.script_id,
    );
    triggers
        .map(|trigger| {
            let mut told = cause.by_trigger(trigger, "bury", &letter.source, &details);
            told.dead_letter_id = Some(letter.id.clone());
            told.depth = letter.depth + 1;
            Caused { event: told, of_write: None }
        })
        .collect()
}

/// Returns the reads of a run, which the commit validates.
pub(crate) fn reads(app_id: &AppId, effects: &Effects) -> Vec<Read> {
    let read = |(seen, sight): (&Seen, Sight)| Read {
        collection: CollectionKey {
            app_id: app_id.clone(),
            space: seen.space,
            name: seen.collection.clone(),
        },
        name: seen.name.clone(),
        version: sight.version,
        until: sight.until,
    };
    effects.seen().map(read).collect()
}

fn of_write(key: &EntryKey, written: &Written) -> Value {
    let value = written.value.as_deref();
    match key.space {
        Space::Kv => form::of_key(&key.collection, &key.name, value),
        Space::Files => form::of_file(&key.collection, &key.name, value),
    }
}

impl Cause<'_> {
    pub(crate) fn collection(&self, space: Space, name: &str) -> CollectionKey {
        CollectionKey { app_id: self.app_id.clone(), space, name: name.to_owned() }
    }

    /// Returns the events of a sent message: one, or one per trigger on the topic.
    pub(crate) fn sent(&self, sent: &Sent, table: &Table) -> Vec<NewEvent> {
        match sent {
            Sent::Queue(Message { id, queue, payload, delay_ms, dedupe }) => {
                let details = form::of_message(queue, payload);
                let mut event = match table.triggers().on_queue(self.app_id, queue) {
                    Some(trigger) => self.by_trigger(trigger, "send", queue, &details),
                    None => self.event(TriggerKind::Queue, "send", queue, &details),
                };
                event.id = id.clone();
                event.delay_us = delay_ms * 1000;
                event.dedupe_key = dedupe.clone();
                vec![event]
            }
            Sent::Topic { topic, payload } => {
                let details = form::of_publication(topic, payload);
                let listeners = table.triggers().on_topic(self.app_id, topic);
                listeners
                    .map(|trigger| self.by_trigger(trigger, "publish", topic, &details))
                    .collect()
            }
            Sent::Script(Enqueued { id, script_id, script, payload, delay_ms }) => {
                let details = form::of_script(script, self.script, payload);
                let mut event = self.event(TriggerKind::Script, "enqueue", script, &details);
                event.id = id.clone();
                // The event keeps the script's id: a deleted script leads to a dead letter, even if
                // another script has the same name now.
                event.script_id = Some(script_id.clone());
                event.delay_us = delay_ms * 1000;
                vec![event]
            }
        }
    }

    /// Returns an event that a trigger delivers to its script.
    pub(crate) fn by_trigger(
        &self,
        trigger: &Trigger,
        operation: &str,
        source: &str,
        details: &Value,
    ) -> NewEvent {
        self.common().by_trigger(trigger, operation, source, details)
    }

    fn event(&self, kind: TriggerKind, operation: &str, source: &str, details: &Value) -> NewEvent {
        self.common().event(kind, operation, source, details)
    }

    fn common(&self) -> Common<'_> {
        Common {
            clock: self.clock,
            app_id: self.app_id,
            principal: self.principal,
            depth: self.depth + 1,
            caused_by: self.execution_id,
            created_at: self.at,
        }
    }
}
