//! Shared by the services `kv` and `files`: reads entries by name, including the run's own changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_shared::calls::{HostError, HostResult};

use super::charges::LISTED;
use super::sandbox::{RunContext, Sandbox};
use crate::events::effects::{EntryKey, Seen, Sight, Written};
use crate::events::payload;
use crate::events::rules::{KEY_BYTES_MAX, Violation, check_text};
use crate::events::sent::{Sent, Unsendable};
use crate::store::{self, EntryName, EntryRange, Space};

/// The maximum number of entries of one listing.
const LIST_MAX: i64 = 1000;

/// An entry as the run sees it.
pub(super) struct VisibleEntry {
    pub(super) value: String,
    /// The version; 0 for an entry that the run itself has changed.
    pub(super) version: i64,
    pub(super) expires_at: Option<i64>,
}

/// A part of a collection as the run sees it.
pub(super) struct Listing {
    pub(super) entries: Vec<(String, VisibleEntry)>,
    pub(super) more: bool,
}

/// Returns a failure that the script can catch.
pub(super) fn failed(message: impl Into<String>) -> HostError {
    HostError::Failed { message: message.into() }
}

/// Returns the failure of a read. Details go only to the log.
pub(super) fn unavailable(sandbox: &mut Sandbox, error: &store::Error) -> HostError {
    error.tell("a run could not read the database");
    sandbox.effects.was_cut_off |= error.is_outage();
    failed("the database is unavailable")
}

impl From<Violation> for HostError {
    fn from(violation: Violation) -> Self {
        failed(violation.to_string())
    }
}

impl From<Unsendable> for HostError {
    fn from(unsendable: Unsendable) -> Self {
        failed(unsendable.to_string())
    }
}

/// Refuses a value or payload that is too large or nests too deep.
pub(super) fn check_value(sandbox: &Sandbox, what: &str, value: &str) -> HostResult<()> {
    let bytes_max = sandbox.limits.value_bytes_max;
    payload::check(value, bytes_max).map_err(|refused| failed(format!("{what} {refused}")))
}

/// Sends an event, which counts against the limits `effects` and `effects_bytes`.
pub(super) fn send(sandbox: &mut Sandbox, sent: Sent) -> HostResult<()> {
    count(sandbox, 1, sent.bytes(), 0)?;
    sandbox.effects.send(sent);
    Ok(())
}

/// Changes an entry. Only the last change of each entry counts against the limits `effects` and
/// `effects_bytes`.
pub(super) fn write(sandbox: &mut Sandbox, key: EntryKey, written: Written) -> HostResult<()> {
    let before = sandbox.effects.own(&key).map(|own| own.bytes(&key));
    let more = u64::from(before.is_none());
    count(sandbox, more, written.bytes(&key), before.unwrap_or(0))?;
    sandbox.effects.write(key, written);
    Ok(())
}

/// Checks the limit on effects before the contents of a file are written.
pub(super) fn check_write(sandbox: &mut Sandbox, key: &EntryKey) -> HostResult<()> {
    let more = u64::from(sandbox.effects.own(key).is_none());
    count(sandbox, more, 0, 0)
}

fn count(sandbox: &mut Sandbox, more: u64, bytes: u64, instead_of: u64) -> HostResult<()> {
    let (reached, effects, limits) = (&mut sandbox.reached, &sandbox.effects, &sandbox.limits);
    Sandbox::spend(reached, "effects", &mut effects.count(), more, limits.effects_max)?;
    let mut used = effects.bytes() - instead_of;
    Sandbox::spend(reached, "effects_bytes", &mut used, bytes, limits.effects_bytes_max)
}

/// Returns the context, which only a run of an app has.
pub(super) fn context(sandbox: &Sandbox) -> HostResult<Arc<RunContext>> {
    sandbox.context.clone().ok_or_else(|| failed("this run has no access to services"))
}

/// Returns the entry as the run sees it, and records the read.
pub(super) async fn find(
    sandbox: &mut Sandbox,
    key: &EntryKey,
) -> HostResult<Option<VisibleEntry>> {
    let now = sandbox.clock.now_us();
    if let Some(own) = sandbox.effects.own(key) {
        let found = |value: &Arc<str>| VisibleEntry {
            value: value.to_string(),
            version: 0,
            expires_at: own.expires_at,
        };
        return Ok(own.value_at(now).map(found));
    }
    let context = context(sandbox)?;
    let name = EntryName { space: key.space, collection: &key.collection, name: &key.name };
    let entry = context
        .platform
        .store
        .find_entry(&context.app_id, name, now)
        .await
        .map_err(|error| unavailable(sandbox, &error))?;
    let seen =
        Seen { space: key.space, collection: key.collection.clone(), name: Some(key.name.clone()) };
    sandbox.effects.see(seen, entry.as_ref().map_or(0, |entry| entry.version));
    Ok(entry.map(|entry| VisibleEntry {
        value: entry.value.as_str().to_owned(),
        version: entry.version,
        expires_at: entry.expires_at,
    }))
}

/// Lists entries in the order of their names, as the run sees them. Records a read of the whole
/// collection.
pub(super) async fn list(
    sandbox: &mut Sandbox,
    space: Space,
    collection: &str,
    range: EntryRange<'_>,
) -> HostResult<Listing> {
    if !(1..=LIST_MAX).contains(&range.limit) {
        return Err(failed(format!("a limit is 1 to {LIST_MAX}, not {}", range.limit)));
    }
    check_text("prefix", "a prefix", range.prefix, KEY_BYTES_MAX)?;
    check_text("after", "a cursor", range.after.unwrap_or_default(), KEY_BYTES_MAX)?;
    let context = context(sandbox)?;
    let after = range.after.unwrap_or_default();
    let wanted = |name: &str| name.starts_with(range.prefix) && (after.is_empty() || name > after);
    let own: Vec<(String, Written)> = sandbox
        .effects
        .own_of(space, collection)
        .filter(|(name, _)| wanted(name))
        .map(|(name, written)| (name.to_owned(), written.clone()))
        .collect();

    // The version is read first, so that the commit detects a change between the two reads.
    let (store, app_id) = (&context.platform.store, &context.app_id);
    let version = store
        .find_collection_version(app_id, space, collection)
        .await
        .map_err(|error| unavailable(sandbox, &error))?;
    // The run may have deleted as many entries as it has changed.
    let enough = EntryRange { limit: range.limit + own.len() as i64 + 1, ..range };
    let now = sandbox.clock.now_us();
    let allowed = sandbox.limits.list_bytes_max;
    let stored = store
        .list_entries_within(app_id, space, collection, &enough, now, allowed)
        .await
        .map_err(|error| unavailable(sandbox, &error))?;
    let Some(stored) = stored else {
        let reached = &mut sandbox.reached;
        return Err(Sandbox::spend(reached, "list_bytes", &mut 0, allowed + 1, allowed)
            .err()
            .unwrap_or_else(|| failed("the listing is too large")));
    };
    let seen = Seen { space, collection: collection.to_owned(), name: None };
    let until = stored.iter().filter_map(|entry| entry.expires_at).min();
    sandbox.effects.see_until(seen, Sight { version, until });
    sandbox.owed_fuel = LISTED * stored.len() as u64;

    let mut entries: BTreeMap<String, VisibleEntry> = stored
        .into_iter()
        .map(|entry| {
            let value = entry.value.as_str().to_owned();
            let (version, expires_at) = (entry.version, entry.expires_at);
            (entry.name, VisibleEntry { value, version, expires_at })
        })
        .collect();
    for (name, own) in own {
        match own.value_at(now) {
            Some(value) => {
                let (value, expires_at) = (value.to_string(), own.expires_at);
                entries.insert(name, VisibleEntry { value, version: 0, expires_at })
            }
            None => entries.remove(&name),
        };
    }
    let limit = usize::try_from(range.limit).unwrap_or(0);
    let more = entries.len() > limit;
    Ok(Listing { entries: entries.into_iter().take(limit).collect(), more })
}
