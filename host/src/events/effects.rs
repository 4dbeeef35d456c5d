//! The changes that a run wants to make, and its reads. A run writes nothing while it runs. Its own
//! reads see its changes through this module; other readers see them after the commit.
//!
//! Invariant: a run that read two versions of one entry cannot be committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::rules::{KEY_BYTES_MAX, NAME_BYTES_MAX, Violation, check_name};
use super::sent::{Message, Sent};
use crate::store::{EventId, Space};

/// The place of an entry within its app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// The key-value store or the files.
    pub space: Space,
    /// The collection or the bucket.
    pub collection: String,
    /// The key or the path.
    pub name: String,
}

impl EntryKey {
    /// Creates the key of an entry.
    ///
    /// # Errors
    /// `Violation` if the collection or the name breaks a rule.
    pub(crate) fn checked(
        space: Space,
        collection: String,
        name: String,
    ) -> Result<Self, Violation> {
        let [(collections, a_collection), (names, a_name)] = match space {
            Space::Kv => [("collection", "a collection"), ("key", "a key")],
            Space::Files => [("bucket", "a bucket"), ("path", "a path")],
        };
        check_name(collections, a_collection, &collection, NAME_BYTES_MAX)?;
        check_name(names, a_name, &name, KEY_BYTES_MAX)?;
        Ok(Self { space, collection, name })
    }
}

/// Something a run read: an entry, or a whole collection if `name` is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The key-value store or the files.
    pub space: Space,
    /// The collection or the bucket.
    pub collection: String,
    /// The key or the path; `None` for the whole collection.
    pub name: Option<String>,
}

/// The state in which a run leaves an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The value as JSON text; `None` if the entry is deleted. Shared, because marks keep the
    /// values that a failing called script must restore.
    pub value: Option<Arc<str>>,
    /// When the entry expires, µs.
    pub expires_at: Option<i64>,
}

impl Written {
    /// Returns the value at the time `now`, µs; `None` once the entry has expired.
    pub(crate) fn value_at(&self, now: i64) -> Option<&Arc<str>> {
        self.value.as_ref().filter(|_| self.expires_at.is_none_or(|at| at > now))
    }

    /// Returns the size of this change of `key`, in bytes.
    pub(crate) fn bytes(&self, key: &EntryKey) -> u64 {
        let value = self.value.as_ref().map_or(0, |value| value.len());
        (key.collection.len() + key.name.len() + value) as u64
    }
}

/// The changes that a run wants to make, and its reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    writes: BTreeMap<EntryKey, Written>,
    sent: Vec<Sent>,
    /// The size of writes and events, in bytes.
    bytes: u64,
    /// The blobs that it has put into the data folder.
    blobs: Vec<Uuid>,
    seen: HashMap<Seen, Sight>,
    /// The number of reads. Two reads of one thing can see different versions.
    looks: u64,
    /// Two reads of one thing saw different versions. The commit alone cannot detect this: an entry
    /// that appeared and was deleted again is absent as before.
    is_torn: bool,
    /// The run has sent an outbound request, so it cannot be repeated silently.
    pub called_outside: bool,
    /// The database or the disk failed during the run, but can recover.
    pub was_cut_off: bool,
}

/// The state of something when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its version.
    pub version: i64,
    /// For a listing, when the first of the listed entries expires, µs: the listing changes then,
    /// but its version does not. `None` if none of them expires.
    pub until: Option<i64>,
}

/// The state to return to if a part of a run is undone.
pub(crate) struct Mark {
    writes: BTreeMap<EntryKey, Written>,
    sent: usize,
    bytes: u64,
}

impl Effects {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.writes.is_empty() && self.sent.is_empty()
    }

    /// Returns the number that counts against the limit `effects`: changed entries and sent events.
    pub(crate) fn count(&self) -> u64 {
        (self.writes.len() + self.sent.len()) as u64
    }

    /// Returns the bytes that count against the limit `effects_bytes`.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the last write of each entry.
    pub fn writes(&self) -> impl Iterator<Item = (&EntryKey, &Written)> {
        self.writes.iter()
    }

    /// Returns the sent events, in order.
    #[must_use]
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Returns the blobs in the data folder that no entry of the run refers to, because the run
    /// replaced the file or failed before writing the entry.
    pub fn needless_blobs(&self) -> impl Iterator<Item = String> {
        let files = self.writes.iter().filter(|(key, _)| key.space == Space::Files);
        let values: Vec<_> = files.filter_map(|(_, written)| written.value.as_deref()).collect();
        let blobs = self.blobs.iter().map(Uuid::to_string);
        blobs.filter(move |blob| !values.iter().any(|value| value.contains(blob)))
    }

    /// Returns the blobs that the run has put into the data folder.
    pub fn blobs(&self) -> impl Iterator<Item = &Uuid> {
        self.blobs.iter()
    }

    /// Records a blob that was put into the data folder.
    pub(crate) fn put_blob(&mut self, blob: Uuid) {
        self.blobs.push(blob);
    }

    /// Returns everything that was read, and its state at the first read.
    pub fn seen(&self) -> impl Iterator<Item = (&Seen, Sight)> {
        self.seen.iter().map(|(seen, sight)| (seen, *sight))
    }

    /// Whether the run deletes an entry.
    #[must_use]
    pub(crate) fn has_deletions(&self) -> bool {
        self.writes.values().any(|written| written.value.is_none())
    }

    /// Whether two reads of one thing saw different versions.
    #[must_use]
    pub fn are_torn(&self) -> bool {
        self.is_torn
    }

    /// Whether the run read more than once. With a single read it has seen one consistent state.
    #[must_use]
    pub fn looked_again(&self) -> bool {
        self.looks > 1
    }

    /// Discards all changes. Keeps the reads, and whether a request was sent.
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

    /// Returns the run's own change of an entry.
    pub(crate) fn own(&self, key: &EntryKey) -> Option<&Written> {
        self.writes.get(key)
    }

    /// Returns the run's own changes in a collection, in order of name.
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

    /// Returns the id of a message that this run sent with that dedupe key.
    pub(crate) fn own_message(&self, queue: &str, key: &str) -> Option<&EventId> {
        self.sent.iter().find_map(|sent| match sent {
            Sent::Queue(Message { id, queue: other, dedupe: Some(dedupe), .. })
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
