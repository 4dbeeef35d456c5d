//! What the services `kv` and `files` share: entries by name, read through the run's
//! own changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_shared::calls::{HostError, HostResult};

use super::charges::LISTED;
use super::sandbox::{Sandbox, Scope};
use crate::events::effects::{EntryKey, Seen, Sent, Sight, Written};
use crate::events::payload;
use crate::store::{self, EntryName, EntryRange, Space};

/// A hundred years: later than that nothing is meant to end.
pub(crate) const TTL_MS_MAX: i64 = 100 * 365 * 24 * 3_600_000;
/// A year: the longest that an event waits.
pub(crate) const DELAY_MS_MAX: i64 = 365 * 24 * 3_600_000;
/// The largest file.
pub(crate) const FILE_BYTES_MAX: usize = 4 << 20;
/// The longest name of a collection, bucket, queue or topic.
pub(crate) const NAME_BYTES_MAX: usize = 256;
/// The longest key or path.
pub(crate) const KEY_BYTES_MAX: usize = 1024;
/// The most entries of one listing.
const LIST_MAX: i64 = 1000;

/// An entry as the run sees it.
pub(super) struct Found {
    pub(super) value: String,
    /// 0 for one that the run itself has changed.
    pub(super) version: i64,
    pub(super) expires_at: Option<i64>,
}

/// A part of a collection as the run sees it.
pub(super) struct Part {
    pub(super) entries: Vec<(String, Found)>,
    pub(super) more: bool,
}

/// A failure that the script can catch.
pub(super) fn failed(message: impl Into<String>) -> HostError {
    HostError::Failed { message: message.into() }
}

/// A failed read, without what only the operator should know.
pub(super) fn unavailable(sandbox: &mut Sandbox, error: &store::Error) -> HostError {
    error.tell("a run could not read");
    sandbox.effects.was_cut_off |= error.is_outage();
    failed("the database is unavailable")
}

/// Refuses what cannot be a name.
pub(super) fn check_name(what: &str, name: &str, bytes_max: usize) -> HostResult<()> {
    if name.is_empty() {
        return Err(failed(format!("{what} must not be empty")));
    }
    check_text(what, name, bytes_max)
}

/// [`check_name`] for what may be empty.
pub(super) fn check_text(what: &str, text: &str, bytes_max: usize) -> HostResult<()> {
    if text.len() > bytes_max {
        let has = text.len();
        return Err(failed(format!("{what} has {has} bytes, {bytes_max} are allowed")));
    }
    if text.contains('\0') {
        return Err(failed(format!("{what} must not contain NUL")));
    }
    Ok(())
}

impl EntryKey {
    /// The key of an entry, refused with the reason where it cannot be one.
    pub(crate) fn checked(space: Space, collection: String, name: String) -> HostResult<Self> {
        let (a_collection, a_name) = match space {
            Space::Kv => ("a collection", "a key"),
            Space::Files => ("a bucket", "a path"),
        };
        check_name(a_collection, &collection, NAME_BYTES_MAX)?;
        check_name(a_name, &name, KEY_BYTES_MAX)?;
        Ok(Self { space, collection, name })
    }
}

/// When what is written at `now`, µs, is to end.
pub(crate) fn expiry(now: i64, ttl_ms: Option<i64>) -> HostResult<Option<i64>> {
    match ttl_ms {
        None => Ok(None),
        Some(ttl_ms @ 1..=TTL_MS_MAX) => Ok(Some(now + ttl_ms * 1000)),
        Some(ttl_ms) => Err(failed(format!("a ttl is 1 to {TTL_MS_MAX} ms, not {ttl_ms}"))),
    }
}

/// Refuses a file that is too large, or of a content type that cannot be one.
pub(crate) fn check_file(content: &[u8], content_type: &str) -> HostResult<()> {
    check_text("a content type", content_type, NAME_BYTES_MAX)?;
    // It is sent as a header, and shown.
    if content_type.contains(char::is_control) {
        return Err(failed("a content type must not contain control characters, such as newlines"));
    }
    if content.len() > FILE_BYTES_MAX {
        let has = content.len();
        return Err(failed(format!("the file has {has} bytes, {FILE_BYTES_MAX} are allowed")));
    }
    Ok(())
}

/// Refuses a value or payload that is too large or nests too deep.
pub(super) fn check_value(sandbox: &Sandbox, what: &str, value: &str) -> HostResult<()> {
    check_json(what, value, sandbox.limits.value_bytes_max)
}

/// [`check_value`] for who has no run: at most `allowed` bytes.
pub(crate) fn check_json(what: &str, value: &str, allowed: u64) -> HostResult<()> {
    payload::check(value, allowed).map_err(|refused| failed(format!("{what} {refused}")))
}

/// Sends an event, which counts against the limits `effects` and `effects_bytes`.
pub(super) fn send(sandbox: &mut Sandbox, sent: Sent) -> HostResult<()> {
    count(sandbox, 1, sent.bytes(), 0)?;
    sandbox.effects.send(sent);
    Ok(())
}

/// Changes an entry, which counts against the limits `effects` and `effects_bytes`: the last
/// change of each entry.
pub(super) fn write(sandbox: &mut Sandbox, key: EntryKey, written: Written) -> HostResult<()> {
    let before = sandbox.effects.own(&key).map(|own| own.bytes(&key));
    let more = u64::from(before.is_none());
    count(sandbox, more, written.bytes(&key), before.unwrap_or(0))?;
    sandbox.effects.write(key, written);
    Ok(())
}

/// Whether the contents of a file may be written, before they are.
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

/// What only a run of an app has.
pub(super) fn scope(sandbox: &Sandbox) -> HostResult<Scope> {
    sandbox.scope.clone().ok_or_else(|| failed("there is nothing outside of this run"))
}

/// The entry as the run sees it; that it was seen is noted.
pub(super) async fn find(sandbox: &mut Sandbox, key: &EntryKey) -> HostResult<Option<Found>> {
    let now = sandbox.clock.now_us();
    if let Some(own) = sandbox.effects.own(key) {
        let found = |value: &Arc<str>| Found {
            value: value.to_string(),
            version: 0,
            expires_at: own.expires_at,
        };
        return Ok(own.value_at(now).map(found));
    }
    let Scope { platform, app_id, .. } = scope(sandbox)?;
    let name = EntryName { space: key.space, collection: &key.collection, name: &key.name };
    let entry = platform
        .store
        .find_entry(&app_id, name, now)
        .await
        .map_err(|error| unavailable(sandbox, &error))?;
    let seen =
        Seen { space: key.space, collection: key.collection.clone(), name: Some(key.name.clone()) };
    sandbox.effects.see(seen, entry.as_ref().map_or(0, |entry| entry.version));
    Ok(entry.map(|entry| Found {
        value: entry.value.as_str().to_owned(),
        version: entry.version,
        expires_at: entry.expires_at,
    }))
}

/// Entries in the order of their names, as the run sees them; all of the collection
/// counts as seen.
pub(super) async fn list(
    sandbox: &mut Sandbox,
    space: Space,
    collection: &str,
    range: EntryRange<'_>,
) -> HostResult<Part> {
    if !(1..=LIST_MAX).contains(&range.limit) {
        return Err(failed(format!("a limit is 1 to {LIST_MAX}, not {}", range.limit)));
    }
    check_text("a prefix", range.prefix, KEY_BYTES_MAX)?;
    check_text("a cursor", range.after.unwrap_or_default(), KEY_BYTES_MAX)?;
    let Scope { platform, app_id, .. } = scope(sandbox)?;
    let after = range.after.unwrap_or_default();
    let wanted = |name: &str| name.starts_with(range.prefix) && (after.is_empty() || name > after);
    let own: Vec<(String, Written)> = sandbox
        .effects
        .own_of(space, collection)
        .filter(|(name, _)| wanted(name))
        .map(|(name, written)| (name.to_owned(), written.clone()))
        .collect();

    // The version first: a change between the two is noticed at the commit.
    let store = &platform.store;
    let version = store
        .find_collection_version(&app_id, space, collection)
        .await
        .map_err(|error| unavailable(sandbox, &error))?;
    // The run may have deleted as many of them as it has changed.
    let enough = EntryRange { limit: range.limit + own.len() as i64 + 1, ..range };
    let now = sandbox.clock.now_us();
    let allowed = sandbox.limits.list_bytes_max;
    let stored = store
        .list_entries_within(&app_id, space, collection, &enough, now, allowed)
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

    let mut entries: BTreeMap<String, Found> = stored
        .into_iter()
        .map(|entry| {
            let value = entry.value.as_str().to_owned();
            let (version, expires_at) = (entry.version, entry.expires_at);
            (entry.name, Found { value, version, expires_at })
        })
        .collect();
    for (name, own) in own {
        match own.value_at(now) {
            Some(value) => {
                let (value, expires_at) = (value.to_string(), own.expires_at);
                entries.insert(name, Found { value, version: 0, expires_at })
            }
            None => entries.remove(&name),
        };
    }
    let limit = usize::try_from(range.limit).unwrap_or(0);
    let more = entries.len() > limit;
    Ok(Part { entries: entries.into_iter().take(limit).collect(), more })
}
