//! Checks the storage limits of an app during a run, so that the script can catch the error. The
//! commit decides. This check only queries the database if the app is close to a limit.

use std::sync::Arc;

use picloud_shared::calls::HostResult;

use super::entries::{failed, unavailable};
use super::sandbox::{RunContext, Sandbox};
use crate::blobs::Described;
use crate::events::effects::EntryKey;
use crate::store::{EntryName, Space, Storage};

/// Reserves storage for an entry whose value or file has `bytes` bytes.
///
/// # Errors
/// A failure that names the limit. The script can catch it.
pub(super) async fn take_for_entry(
    sandbox: &mut Sandbox,
    key: &EntryKey,
    bytes: usize,
) -> HostResult<()> {
    let Some(context) = near(sandbox) else { return Ok(()) };
    let old = match sandbox.effects.own(key) {
        Some(own) => own.value.as_deref().map(|value| size(key.space, value)),
        None => {
            let name = EntryName { space: key.space, collection: &key.collection, name: &key.name };
            let now = sandbox.clock.now_us();
            let found = context.platform.store.find_entry(&context.app_id, name, now).await;
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

/// Reserves storage for an event with a payload of `bytes` bytes.
///
/// # Errors
/// Same as [`take_for_entry`].
pub(super) async fn take_for_event(sandbox: &mut Sandbox, bytes: usize) -> HostResult<()> {
    let growth = Storage { events: 1, event_bytes: bytes as i64, ..Storage::default() };
    take(sandbox, &growth).await
}

async fn take(sandbox: &mut Sandbox, growth: &Storage) -> HostResult<()> {
    let Some(context) = near(sandbox) else { return Ok(()) };
    let store = &context.platform.store;
    let kept = store.find_storage(&context.app_id).await;
    let kept = kept.map_err(|error| unavailable(sandbox, &error))?;
    let used = kept.plus(&sandbox.room_taken);
    if let Err(full) = used.check(growth, &store.storage_max()) {
        // Deletions of this run and expired entries free storage. Only the commit knows how much.
        let has_expired = store.has_expired_entries(&context.app_id, sandbox.clock.now_us()).await;
        let has_expired = has_expired.map_err(|error| unavailable(sandbox, &error))?;
        if !has_expired && !sandbox.effects.has_deletions() {
            return Err(failed(full.to_string()));
        }
    }
    sandbox.room_taken = sandbox.room_taken.plus(growth);
    Ok(())
}

/// Returns the context of a run whose app is close to a limit.
fn near(sandbox: &Sandbox) -> Option<Arc<RunContext>> {
    let context = sandbox.context.as_ref()?;
    context.platform.store.is_near_storage_max(&context.app_id).then(|| Arc::clone(context))
}

/// Returns the number of bytes of a value that count against the limits.
fn size(space: Space, value: &str) -> i64 {
    match space {
        Space::Kv => value.len() as i64,
        Space::Files => {
            let described = serde_json::from_str::<Described>(value);
            described.map_or(0, |described| described.size_bytes)
        }
    }
}
