//! From what a run has done, or somebody by hand, to what the commit writes: the changed
//! entries, and the events that follow from them. Pure, but for the ids.

use serde_json::Value;

use super::Common;
use super::effects::{Effects, EntryKey, Seen, Sent, Sight, Written};
use super::form;
use crate::clock::Clock;
use crate::definitions::Table;
use crate::store::{
    AppId, Caused, CollectionKey, DeadLetter, ExecutionId, Json, NewEvent, Read, Space, Trigger,
    TriggerKind, Write,
};

/// What all events of one run, or of one change by hand, have in common.
pub(crate) struct Cause<'a> {
    pub(crate) app_id: &'a AppId,
    /// The app's name; empty where it is not known any more.
    pub(crate) app: &'a str,
    /// The name of the script that ran.
    pub(crate) script: Option<&'a str>,
    /// The run; none where nothing ran.
    pub(crate) execution_id: Option<&'a ExecutionId>,
    /// Of the run; its events are one deeper.
    pub(crate) depth: i64,
    /// As whom it ran.
    pub(crate) principal: &'a str,
    pub(crate) clock: &'a Clock,
    pub(crate) at: i64,
}

/// What the commit is to write.
pub(crate) struct Consequences {
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    pub(crate) events: Vec<Caused>,
}

/// What follows from a run's effects.
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

/// An entry as it is to be.
pub(crate) fn write(cause: &Cause<'_>, key: &EntryKey, written: &Written) -> Write {
    Write {
        collection: cause.collection(key.space, &key.collection),
        name: key.name.clone(),
        value: written.value.as_deref().map(|value| Json::from_text(value.to_owned())),
        expires_at: written.expires_at,
    }
}

/// The events of the triggers that listen to a changed entry; it is the write at
/// `position` of the commit.
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

/// The events that tell of a dead letter: one for each trigger that listens. They are one
/// deeper than the event that was given up, and run however deep they are. Of an event that is
/// deeper than the first that is too deep nobody is told: a handler that causes what it handles
/// comes to an end.
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

/// What a run has seen, for the check at its commit.
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

    fn sent(&self, sent: &Sent, table: &Table) -> Vec<NewEvent> {
        match sent {
            Sent::Queue { id, queue, payload, delay_ms, dedupe } => {
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
            Sent::Script { id, script_id, script, payload, delay_ms } => {
                let details = form::of_script(script, self.script, payload);
                let mut event = self.event(TriggerKind::Script, "enqueue", script, &details);
                event.id = id.clone();
                // Whatever has become of the script since: one that is gone makes a dead
                // letter, and another one of its name is another.
                event.script_id = Some(script_id.clone());
                event.delay_us = delay_ms * 1000;
                vec![event]
            }
        }
    }

    /// An event that a trigger brings to its script.
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
