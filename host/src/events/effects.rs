//! What a run wants to change and what it has seen. Nothing is written while it
//! runs: its own reads see its changes through here, and everybody else's see them
//! after the commit, or never.
//!
//! Invariant: a run that saw an entry change under its hands cannot be committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::store::{EventId, ScriptId, Space};

/// Where an entry is, within the app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// Keys or paths.
    pub space: Space,
    /// The collection or the bucket.
    pub collection: String,
    /// The key or the path.
    pub name: String,
}

/// What a run saw: an entry, or with no name all of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Keys or paths.
    pub space: Space,
    /// The collection or the bucket.
    pub collection: String,
    /// The key or the path.
    pub name: Option<String>,
}

/// An entry as a run has left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The value, JSON text; none for a deleted one. Shared, because what a called script may
    /// have to undo is kept.
    pub value: Option<Arc<str>>,
    /// When its time is up, µs.
    pub expires_at: Option<i64>,
}

impl Written {
    /// The value at the time `now`, µs: none once the entry has expired.
    pub(crate) fn value_at(&self, now: i64) -> Option<&Arc<str>> {
        self.value.as_ref().filter(|_| self.expires_at.is_none_or(|at| at > now))
    }
}

/// An event that a run sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A message to a queue.
    Queue {
        /// Its id.
        id: EventId,
        /// The queue.
        queue: String,
        /// JSON text.
        payload: String,
        /// Not before so many milliseconds.
        delay_ms: i64,
        /// Dropped while another with this key waits.
        dedupe: Option<String>,
    },
    /// A message to a topic.
    Topic {
        /// The topic.
        topic: String,
        /// JSON text.
        payload: String,
    },
    /// A script to be run later.
    Script {
        /// The event's id.
        id: EventId,
        /// The script, as its name was found when it was called.
        script_id: ScriptId,
        /// The script's name then.
        script: String,
        /// JSON text.
        payload: String,
        /// Not before so many milliseconds.
        delay_ms: i64,
    },
}

impl Written {
    /// The size of this change of `key`, in bytes.
    pub(crate) fn bytes(&self, key: &EntryKey) -> u64 {
        let value = self.value.as_ref().map_or(0, |value| value.len());
        (key.collection.len() + key.name.len() + value) as u64
    }
}

impl Sent {
    /// The size of the event, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let (Self::Queue { queue: to, payload, .. }
        | Self::Topic { topic: to, payload }
        | Self::Script { script: to, payload, .. }) = self;
        (to.len() + payload.len()) as u64
    }
}

/// Everything that a run has done and seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    writes: BTreeMap<EntryKey, Written>,
    sent: Vec<Sent>,
    /// The size of writes and events, in bytes.
    bytes: u64,
    /// The contents of files that it has put into the data folder.
    blobs: Vec<Uuid>,
    seen: HashMap<Seen, Sight>,
    /// How often it looked: one thing looked at twice may not have been the same.
    looks: u64,
    /// It has seen one thing change. What it saw first may be so again at the commit:
    /// what was absent, came and went is absent.
    is_torn: bool,
    /// A request has gone out, so that the run cannot be done again silently.
    pub called_outside: bool,
    /// The database or the disk did not serve the run, but may later.
    pub was_cut_off: bool,
}

/// How something was when it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its version.
    pub version: i64,
    /// Of a listing, when the first of the entries that were seen expires, µs: it is another one
    /// from then on, although its version stays. None if nothing in it expires.
    pub until: Option<i64>,
}

/// How things were before a part of a run that may have to be undone.
pub(crate) struct Mark {
    writes: BTreeMap<EntryKey, Written>,
    sent: usize,
    bytes: u64,
}

impl Effects {
    /// Whether there is nothing to be written.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.writes.is_empty() && self.sent.is_empty()
    }

    /// What counts against the limit `effects`: entries that are changed and events that
    /// are sent.
    pub(crate) fn count(&self) -> u64 {
        (self.writes.len() + self.sent.len()) as u64
    }

    /// The bytes that count against the limit `effects_bytes`.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was written, the last for each entry.
    pub fn writes(&self) -> impl Iterator<Item = (&EntryKey, &Written)> {
        self.writes.iter()
    }

    /// What was sent, in order.
    #[must_use]
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// The contents of files that the run has put into the data folder and that none of its
    /// entries describes: of files that it wrote again, or did not get to write.
    pub fn needless_blobs(&self) -> impl Iterator<Item = String> {
        let files = self.writes.iter().filter(|(key, _)| key.space == Space::Files);
        let values: Vec<_> = files.filter_map(|(_, written)| written.value.as_deref()).collect();
        let blobs = self.blobs.iter().map(Uuid::to_string);
        blobs.filter(move |blob| !values.iter().any(|value| value.contains(blob)))
    }

    /// The contents of files that the run has put into the data folder.
    pub fn blobs(&self) -> impl Iterator<Item = &Uuid> {
        self.blobs.iter()
    }

    /// Notes contents that are put into the data folder.
    pub(crate) fn put_blob(&mut self, blob: Uuid) {
        self.blobs.push(blob);
    }

    /// What was seen, and how it was.
    pub fn seen(&self) -> impl Iterator<Item = (&Seen, Sight)> {
        self.seen.iter().map(|(seen, sight)| (seen, *sight))
    }

    /// Whether something is to be deleted.
    #[must_use]
    pub(crate) fn has_deletions(&self) -> bool {
        self.writes.values().any(|written| written.value.is_none())
    }

    /// Whether it has seen something change under its hands.
    #[must_use]
    pub fn are_torn(&self) -> bool {
        self.is_torn
    }

    /// Whether it looked more than once: only then may it have seen no one state.
    #[must_use]
    pub fn looked_again(&self) -> bool {
        self.looks > 1
    }

    /// Forgets what was to be written; what was seen, and that a request went out,
    /// remain.
    pub(crate) fn discard(&mut self) {
        self.writes.clear();
        self.sent.clear();
        self.bytes = 0;
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { writes: self.writes.clone(), sent: self.sent.len(), bytes: self.bytes }
    }

    pub(crate) fn undo_to(&mut self, mark: Mark) {
        self.writes = mark.writes;
        self.sent.truncate(mark.sent);
        self.bytes = mark.bytes;
    }

    pub(crate) fn see(&mut self, seen: Seen, version: i64) {
        self.see_until(seen, Sight { version, until: None });
    }

    pub(crate) fn see_until(&mut self, seen: Seen, sight: Sight) {
        self.looks += 1;
        let first = self.seen.entry(seen).or_insert(sight);
        self.is_torn |= first.version != sight.version;
        first.until = [first.until, sight.until].into_iter().flatten().min();
    }

    pub(crate) fn write(&mut self, key: EntryKey, written: Written) {
        let before = self.writes.get(&key).map_or(0, |before| before.bytes(&key));
        self.bytes += written.bytes(&key);
        self.bytes -= before;
        self.writes.insert(key, written);
    }

    pub(crate) fn send(&mut self, sent: Sent) {
        self.bytes += sent.bytes();
        self.sent.push(sent);
    }

    /// What the run itself has made of an entry.
    pub(crate) fn own(&self, key: &EntryKey) -> Option<&Written> {
        self.writes.get(key)
    }

    /// The run's own entries of a collection after a name, in order.
    pub(crate) fn own_of(
        &self,
        space: Space,
        collection: &str,
    ) -> impl Iterator<Item = (&str, &Written)> {
        let first = EntryKey { space, collection: collection.to_owned(), name: String::new() };
        self.writes
            .range(first..)
            .take_while(move |(key, _)| key.space == space && key.collection == collection)
            .map(|(key, written)| (key.name.as_str(), written))
    }

    /// The id of a message of this run with that dedupe key.
    pub(crate) fn own_message(&self, queue: &str, key: &str) -> Option<&EventId> {
        self.sent.iter().find_map(|sent| match sent {
            Sent::Queue { id, queue: other, dedupe: Some(dedupe), .. }
                if other == queue && dedupe == key =>
            {
                Some(id)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_is_changed_again_counts_once() {
        let key = |name: &str| EntryKey {
            space: Space::Kv,
            collection: "c".to_owned(),
            name: name.to_owned(),
        };
        let written = || Written { value: Some("1".into()), expires_at: None };
        let mut effects = Effects::default();
        effects.write(key("a"), written());
        effects.write(key("a"), written());
        effects.write(key("b"), written());
        effects.send(Sent::Topic { topic: "t".to_owned(), payload: "1".to_owned() });
        effects.send(Sent::Topic { topic: "t".to_owned(), payload: "1".to_owned() });
        assert_eq!(effects.count(), 4);
    }
}
