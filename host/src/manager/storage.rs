//! What apps keep and may keep, in answers of the API.

use serde::Serialize;
use utoipa::ToSchema;

use super::ControlPlane;
use crate::error::Result;
use crate::store::{AppId, Storage};

/// How much of a limit an app uses.
#[derive(Debug, Serialize, ToSchema)]
pub struct StorageUse {
    /// What it keeps.
    used: i64,
    /// What it may keep; what adds to more is refused.
    most: i64,
}

/// What an app keeps, and may keep. The settings `PICLOUD_APP_MAX_*` are the limits.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppStorage {
    /// Keys of collections: limit `app_entries`.
    entries: StorageUse,
    /// Their names and values, in bytes: limit `app_entry_bytes`.
    entry_bytes: StorageUse,
    /// Files of buckets: limit `app_files`.
    files: StorageUse,
    /// Their contents, in bytes, also of files that were overwritten or deleted in the last
    /// minutes: limit `app_file_bytes`.
    file_bytes: StorageUse,
    /// Events that wait or run: limit `app_events`.
    events: StorageUse,
    /// Their payloads, in bytes: limit `app_event_bytes`.
    event_bytes: StorageUse,
}

impl AppStorage {
    /// What the app with this id keeps now.
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

/// What all apps keep together.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceStorage {
    /// Keys of collections.
    entries: i64,
    /// Their names and values, in bytes.
    entry_bytes: i64,
    /// Files of buckets.
    files: i64,
    /// Their contents, in bytes; also those that were overwritten or deleted and are not removed
    /// yet.
    file_bytes: i64,
    /// How much of `file_bytes` was overwritten or deleted: it is removed within minutes.
    freed_file_bytes: i64,
    /// Events that wait or run.
    events: i64,
    /// Their payloads, in bytes.
    event_bytes: i64,
}

impl InstanceStorage {
    /// These sums, of which `freed_file_bytes` are only waiting to be removed.
    pub(super) fn of(storage: &Storage, freed_file_bytes: i64) -> Self {
        let Storage { entries, entry_bytes, files, file_bytes, events, event_bytes } = *storage;
        Self { entries, entry_bytes, files, file_bytes, freed_file_bytes, events, event_bytes }
    }
}
