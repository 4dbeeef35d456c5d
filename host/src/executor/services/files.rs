//! `files::*`: a file is an entry that describes a blob in the data folder.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::files::{Content, Delete, File, Get, List, Listed, Put, Stat};

use super::count_call;
use crate::blobs::Described;
use crate::blobs::{FULL, is_full};
use crate::events::effects::{EntryKey, Written};
use crate::events::rules::{NAME_BYTES_MAX, check_file, check_name};
use crate::executor::entries::{VisibleEntry, check_write, context, failed, find, list, write};
use crate::executor::room::take_for_entry;
use crate::executor::sandbox::Sandbox;
use crate::store::{EntryRange, Space};

fn key(bucket: String, path: String) -> HostResult<EntryKey> {
    Ok(EntryKey::checked(Space::Files, bucket, path)?)
}

fn described(found: &VisibleEntry) -> HostResult<Described> {
    serde_json::from_str(&found.value).map_err(|_| failed("the file's description is damaged"))
}

fn file(path: String, found: &VisibleEntry) -> HostResult<File> {
    let described = described(found)?;
    Ok(File {
        path,
        size_bytes: described.size_bytes,
        content_type: described.content_type,
        sha256: described.sha256,
        version: found.version,
    })
}

/// Writes a file: its blob now, under a new id, and its entry at the commit.
pub(in crate::executor) async fn put(sandbox: &mut Sandbox, put: Put) -> HostResult<()> {
    count_call(sandbox)?;
    let key = key(put.bucket, put.path)?;
    check_file(&put.content, &put.content_type)?;
    check_write(sandbox, &key)?;
    take_for_entry(sandbox, &key, put.content.len()).await?;
    let context = context(sandbox)?;
    let id = sandbox.clock.new_id();
    sandbox.effects.put_blob(id);
    let described = context
        .platform
        .blobs
        .put(context.app_id.as_str(), id, put.content, put.content_type)
        .await
        .map_err(|error| {
            let (app, execution) = (&*context.app, context.execution_id.as_str());
            let (bucket, path) = (&*key.collection, &*key.name);
            tracing::warn!(%error, app, bucket, path, execution, "a file could not be written");
            sandbox.effects.was_cut_off = true;
            failed(if is_full(&error) { FULL } else { "the file could not be written" })
        })?;
    let value = serde_json::to_string(&described).map_err(|error| failed(error.to_string()))?;
    write(sandbox, key, Written { value: Some(value.into()), expires_at: None })
}

/// Returns the content of a file, if it exists.
pub(in crate::executor) async fn get(
    sandbox: &mut Sandbox,
    get: Get,
) -> HostResult<Option<Content>> {
    count_call(sandbox)?;
    let key = key(get.bucket, get.path)?;
    let Some(found) = find(sandbox, &key).await? else {
        return Ok(None);
    };
    let context = context(sandbox)?;
    let content = context.platform.blobs.get(context.app_id.as_str(), &described(&found)?).await;
    match content {
        Ok(content) => Ok(Some(Content(content))),
        Err(error) => {
            let (app, execution) = (&*context.app, context.execution_id.as_str());
            let (bucket, path) = (&*key.collection, &*key.name);
            tracing::warn!(%error, app, bucket, path, execution, "a file could not be read");
            Err(failed("the file could not be read"))
        }
    }
}

/// Returns the metadata of a file, if it exists.
pub(in crate::executor) async fn stat(
    sandbox: &mut Sandbox,
    stat: Stat,
) -> HostResult<Option<File>> {
    count_call(sandbox)?;
    let key = key(stat.bucket, stat.path)?;
    let found = find(sandbox, &key).await?;
    found.map(|found| file(key.name, &found)).transpose()
}

/// Deletes a file.
pub(in crate::executor) async fn delete(sandbox: &mut Sandbox, delete: Delete) -> HostResult<bool> {
    count_call(sandbox)?;
    let key = key(delete.bucket, delete.path)?;
    let there = find(sandbox, &key).await?.is_some();
    if there {
        write(sandbox, key, Written { value: None, expires_at: None })?;
    }
    Ok(there)
}

/// Lists a part of a bucket.
pub(in crate::executor) async fn entries(sandbox: &mut Sandbox, part: List) -> HostResult<Listed> {
    count_call(sandbox)?;
    check_name("bucket", "a bucket", &part.bucket, NAME_BYTES_MAX)?;
    let range =
        EntryRange { prefix: &part.prefix, after: part.after.as_deref(), limit: part.limit };
    let listed = list(sandbox, Space::Files, &part.bucket, range).await?;
    let files = listed.entries.into_iter().map(|(path, found)| file(path, &found));
    Ok(Listed { files: files.collect::<HostResult<_>>()?, more: listed.more })
}
