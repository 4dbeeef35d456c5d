//! `kv::*`.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::kv::{Delete, Entry, Get, Increment, List, Listed, Set};

use super::count_call;
use crate::events::effects::{EntryKey, Written};
use crate::events::rules::{NAME_BYTES_MAX, check_name, expiry};
use crate::executor::entries::{check_value, failed, find, list, write};
use crate::executor::room::take_for_entry;
use crate::executor::sandbox::Sandbox;
use crate::store::{EntryRange, Space};

fn key(collection: String, name: String) -> HostResult<EntryKey> {
    Ok(EntryKey::checked(Space::Kv, collection, name)?)
}

/// Returns the entry, if it exists.
pub(in crate::executor) async fn get(sandbox: &mut Sandbox, get: Get) -> HostResult<Option<Entry>> {
    count_call(sandbox)?;
    let key = key(get.collection, get.key)?;
    let found = find(sandbox, &key).await?;
    Ok(found.map(|found| Entry { key: key.name, value: found.value, version: found.version }))
}

/// Sets a value, unless the entry has another version than the requested one.
pub(in crate::executor) async fn set(sandbox: &mut Sandbox, set: Set) -> HostResult<bool> {
    count_call(sandbox)?;
    let key = key(set.collection, set.key)?;
    check_value(sandbox, "the value", &set.value)?;
    let expires_at = expiry(sandbox.clock.now_us(), set.ttl_ms)?;
    if let Some(wanted) = set.if_version {
        if sandbox.effects.own(&key).is_some() {
            return Err(failed(
                "if_version cannot be used: this run has already changed the entry",
            ));
        }
        let version = find(sandbox, &key).await?.map_or(0, |found| found.version);
        if version != wanted {
            return Ok(false);
        }
    }
    take_for_entry(sandbox, &key, set.value.len()).await?;
    write(sandbox, key, Written { value: Some(set.value.into()), expires_at })?;
    Ok(true)
}

/// Deletes an entry.
pub(in crate::executor) async fn delete(sandbox: &mut Sandbox, delete: Delete) -> HostResult<bool> {
    count_call(sandbox)?;
    let key = key(delete.collection, delete.key)?;
    let there = find(sandbox, &key).await?.is_some();
    if there {
        write(sandbox, key, Written { value: None, expires_at: None })?;
    }
    Ok(there)
}

/// Lists a part of a collection.
pub(in crate::executor) async fn entries(sandbox: &mut Sandbox, part: List) -> HostResult<Listed> {
    count_call(sandbox)?;
    check_name("collection", "a collection", &part.collection, NAME_BYTES_MAX)?;
    let range =
        EntryRange { prefix: &part.prefix, after: part.after.as_deref(), limit: part.limit };
    let listed = list(sandbox, Space::Kv, &part.collection, range).await?;
    let entry = |(key, found): (String, crate::executor::entries::VisibleEntry)| Entry {
        key,
        value: found.value,
        version: found.version,
    };
    Ok(Listed { entries: listed.entries.into_iter().map(entry).collect(), more: listed.more })
}

/// Adds to a number. Keeps its expiry time.
pub(in crate::executor) async fn increment(
    sandbox: &mut Sandbox,
    increment: Increment,
) -> HostResult<i64> {
    count_call(sandbox)?;
    let key = key(increment.collection, increment.key)?;
    let found = find(sandbox, &key).await?;
    let (number, expires_at) = match &found {
        None => (0, None),
        Some(found) => {
            let not_whole = |_| failed(format!("the value of {:?} is not an integer", key.name));
            (found.value.parse::<i64>().map_err(not_whole)?, found.expires_at)
        }
    };
    let by = increment.by;
    let sum = number.checked_add(by).ok_or_else(|| {
        failed(format!("the sum of {number} and {by} is outside the range of integers"))
    })?;
    let value = sum.to_string();
    take_for_entry(sandbox, &key, value.len()).await?;
    write(sandbox, key, Written { value: Some(value.into()), expires_at })?;
    Ok(sum)
}
