//! The storage that apps use, and its limits, in responses of the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use crate::error::Result;
use crate::store::{AppId, Storage};

/// The use of a limit by an app.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct StorageUse {
    /// The amount in use.
    pub used: i64,
    /// The limit. A write that would exceed it is refused.
    pub most: i64,
}

/// The storage of an app, and its limits. The settings `PICLOUD_APP_MAX_*` set the limits.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct AppStorage {
    /// Keys in collections: limit `app_entries`.
    pub entries: StorageUse,
    /// Names and values of those keys, in bytes: limit `app_entry_bytes`.
    pub entry_bytes: StorageUse,
    /// Files in buckets: limit `app_files`.
    pub files: StorageUse,
    /// Contents of files, in bytes, including files overwritten or deleted in the last minutes:
    /// limit `app_file_bytes`.
    pub file_bytes: StorageUse,
    /// Pending and running events: limit `app_events`.
    pub events: StorageUse,
    /// Payloads of those events, in bytes: limit `app_event_bytes`.
    pub event_bytes: StorageUse,
}

impl AppStorage {
    /// Returns the storage that an app uses now.
    ///
    /// # Errors
    /// `Unavailable` from the store.
    pub(super) async fn of(control_plane: &ControlPlane, app_id: &AppId) -> Result<Self> {
        let used = control_plane.store.find_storage(app_id).await?;
        let most = control_plane.store.storage_max();
        let each = |of: fn(&Storage) -> i64| StorageUse { used: of(&used), most: of(&most) };
        Ok(Self {
            entries: each(|storage| storage.entries),
            entry_bytes: each(|storage| storage.entry_bytes),
            files: each(|storage| storage.files),
            file_bytes: each(|storage| storage.file_bytes),
            events: each(|storage| storage.events),
            event_bytes: each(|storage| storage.event_bytes),
        })
    }
}

/// The storage of all apps together.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceStorage {
    /// Keys in collections.
    entries: i64,
    /// Names and values of those keys, in bytes.
    entry_bytes: i64,
    /// Files in buckets.
    files: i64,
    /// Contents of files, in bytes, including overwritten and deleted files that are not removed
    /// yet.
    file_bytes: i64,
    /// The part of `file_bytes` that was overwritten or deleted. It is removed within minutes.
    freed_file_bytes: i64,
    /// Pending and running events.
    events: i64,
    /// Payloads of those events, in bytes.
    event_bytes: i64,
}

impl InstanceStorage {
    /// Combines the sums with the bytes that wait to be removed.
    pub(super) fn of(storage: &Storage, freed_file_bytes: i64) -> Self {
        let Storage { entries, entry_bytes, files, file_bytes, events, event_bytes } = *storage;
        Self { entries, entry_bytes, files, file_bytes, freed_file_bytes, events, event_bytes }
    }
}
