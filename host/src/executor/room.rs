//! Whether an app may keep what a run writes, asked while it runs so that the script can catch
//! the error. The commit decides; this looks only where the app is near one of its limits.

use picloud_shared::calls::HostResult;

use super::entries::{failed, unavailable};
use super::sandbox::Sandbox;
use crate::blobs::Described;
use crate::events::effects::EntryKey;
use crate::store::{EntryName, Space, Storage};

/// Takes room for an entry whose value has so many bytes, or whose file has.
///
/// # Errors
/// A failure that names the limit, which the script can catch.
pub(super) async fn take_for_entry(
    sandbox: &mut Sandbox,
    key: &EntryKey,
    bytes: usize,
) -> HostResult<()> {
    let Some(scope) = near(sandbox) else { return Ok(()) };
    let old = match sandbox.effects.own(key) {
        Some(own) => own.value.as_deref().map(|value| size(key.space, value)),
        None => {
            let name = EntryName { space: key.space, collection: &key.collection, name: &key.name };
            let now = sandbox.clock.now_us();
            let found = scope.platform.store.find_entry(&scope.app_id, name, now).await;
            let found = found.map_err(|error| unavailable(sandbox, &error))?;
            found.map(|entry| size(key.space, entry.value.as_str()))
        }
    };
    let (count, more) = (i64::from(old.is_none()), bytes as i64 - old.unwrap_or(0));
    let growth = match key.space {
        Space::Kv => {
            let name = key.name.len() as i64 * count;
            Storage { entries: count, entry_bytes: more + name, ..Storage::default() }
        }
        Space::Files => Storage { files: count, file_bytes: more, ..Storage::default() },
    };
    take(sandbox, &growth).await
}

/// Takes room for an event with a payload of so many bytes.
///
/// # Errors
/// As [`take_for_entry`].
pub(super) async fn take_for_event(sandbox: &mut Sandbox, bytes: usize) -> HostResult<()> {
    let growth = Storage { events: 1, event_bytes: bytes as i64, ..Storage::default() };
    take(sandbox, &growth).await
}

async fn take(sandbox: &mut Sandbox, growth: &Storage) -> HostResult<()> {
    let Some(scope) = near(sandbox) else { return Ok(()) };
    let store = scope.platform.store;
    let kept = store.find_storage(&scope.app_id).await;
    let kept = kept.map_err(|error| unavailable(sandbox, &error))?;
    let used = kept.plus(&sandbox.room_taken);
    if let Err(full) = used.check(growth, &store.storage_max()) {
        // What goes with this run, or has expired, makes room. Only the commit knows how much.
        let has_expired = store.has_expired_entries(&scope.app_id, sandbox.clock.now_us()).await;
        let has_expired = has_expired.map_err(|error| unavailable(sandbox, &error))?;
        if !has_expired && !sandbox.effects.has_deletions() {
            return Err(failed(full.to_string()));
        }
    }
    sandbox.room_taken = sandbox.room_taken.plus(growth);
    Ok(())
}

/// The scope of a run whose app is near a limit.
fn near(sandbox: &Sandbox) -> Option<super::sandbox::Scope> {
    let scope = sandbox.scope.as_ref()?;
    scope.platform.store.is_near_storage_max(&scope.app_id).then(|| scope.clone())
}

/// The bytes that count of a value.
fn size(space: Space, value: &str) -> i64 {
    match space {
        Space::Kv => value.len() as i64,
        Space::Files => {
            let described = serde_json::from_str::<Described>(value);
            described.map_or(0, |described| described.size_bytes)
        }
    }
}
