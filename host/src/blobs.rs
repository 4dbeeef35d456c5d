//! The contents of files, in the data folder: `files/{app}/{blob}`.
//!
//! A blob is written under a temporary name, synced and renamed, and never changed. Writing a file
//! again creates another blob. The store knows which blobs belong to files; the others are removed
//! by `retention/sweep.rs`.
//!
//! Invariant: an app's blobs are accessed through a capability for its folder and by generated ids.
//! A script's file name is never used as a path.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{DISK_FULL_RETRY_AFTER_S, Error, Refusal};

/// The name of the folder of blobs in the data folder.
pub const FILES_FOLDER: &str = "files";

/// The prefix of a blob's name until its content is on disk.
const TEMPORARY: &str = "new-";

/// The error message for a file that does not fit on the disk.
pub const FULL: &str = "the disk of the data folder, which holds the files, is full";

/// Whether the error means that the disk is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns the refusal of a file whose content could not be written to the data folder.
#[must_use]
pub fn refuse(error: &io::Error) -> Error {
    let refusal = if is_full(error) {
        Refusal::new("disk_full", FULL)
    } else {
        Refusal::new("files_unavailable", "the file could not be written")
    };
    Error::Unavailable { refusal, retry_after_s: DISK_FULL_RETRY_AFTER_S }
}

/// The description of a blob in an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// The blob's name.
    pub blob: Uuid,
    /// The size in bytes.
    pub size_bytes: i64,
    /// The media type of the content.
    pub content_type: String,
    /// The SHA-256 of the content, in hexadecimal.
    pub sha256: String,
}

/// The folder of all apps' blobs. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Dir>);

impl Blobs {
    /// Opens the blobs in the data folder `data`, creating their folder if it is missing.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn open(data: &Dir) -> io::Result<Self> {
        let opened = data.create_dir_all(FILES_FOLDER).and_then(|()| data.open_dir(FILES_FOLDER));
        let named = |error: io::Error| {
            let message = format!("the folder `{FILES_FOLDER}` in the data folder: {error}");
            io::Error::new(error.kind(), message)
        };
        Ok(Self(Arc::new(opened.map_err(named)?)))
    }

    /// Writes a blob; it is on disk when this returns.
    ///
    /// # Errors
    /// If it cannot be written, for example because the disk is full; nothing is left behind then.
    pub(crate) async fn put(
        &self,
        app: &str,
        blob: Uuid,
        content: Vec<u8>,
        content_type: String,
    ) -> io::Result<Described> {
        let (folders, app) = (Arc::clone(&self.0), app.to_owned());
        blocking(move || {
            keep(&folder_of(&folders, &app)?, blob, &content)?;
            Ok(Described {
                blob,
                size_bytes: i64::try_from(content.len()).unwrap_or(i64::MAX),
                content_type,
                sha256: hex::encode(Sha256::digest(&content)),
            })
        })
        .await
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// If it does not exist or cannot be read.
    pub async fn get(&self, app: &str, described: &Described) -> io::Result<Vec<u8>> {
        let (folders, app, blob) = (Arc::clone(&self.0), app.to_owned(), described.blob);
        blocking(move || folders.open_dir(&app)?.read(blob.to_string())).await
    }

    /// Opens the blobs in the data folder `data`, if it has a folder for them.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn find(data: &Dir) -> io::Result<Option<Self>> {
        match data.open_dir(FILES_FOLDER) {
            Ok(folders) => Ok(Some(Self(Arc::new(folders)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Copies a blob to another folder. The copy is complete, or it does not exist.
    ///
    /// # Errors
    /// `NotFound` if the blob does not exist, `InvalidData` if it does not match its description,
    /// others if it cannot be read or written.
    pub async fn copy(&self, app: &str, described: &Described, to: &Self) -> io::Result<()> {
        let (folders, app, described) = (Arc::clone(&self.0), app.to_owned(), described.clone());
        let to = Arc::clone(&to.0);
        blocking(move || {
            let content = folders.open_dir(&app)?.read(described.blob.to_string())?;
            if hex::encode(Sha256::digest(&content)) != described.sha256 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
            }
            keep(&folder_of(&to, &app)?, described.blob, &content)
        })
        .await
    }

    /// Lists the apps that have a folder here.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub async fn apps(&self) -> io::Result<Vec<String>> {
        let folders = Arc::clone(&self.0);
        blocking(move || {
            let names = folders.entries()?.map(|entry| Ok(entry?.file_name().into_string().ok()));
            Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
        .await
    }

    /// Lists the names in an app's folder that were created before `made_before`, µs, and are not
    /// blobs of `kept`: orphaned blobs, and temporary files that were never finished.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub async fn orphans(
        &self,
        app: &str,
        kept: HashSet<Uuid>,
        made_before: i64,
    ) -> io::Result<Vec<String>> {
        let (folders, app) = (Arc::clone(&self.0), app.to_owned());
        blocking(move || {
            let mut orphans = Vec::new();
            for entry in folders.open_dir(&app)?.entries()? {
                let Ok(name) = entry?.file_name().into_string() else { continue };
                let id = name.strip_prefix(TEMPORARY).unwrap_or(&name).parse::<Uuid>();
                let Ok(id) = id else { continue };
                let finished = !name.starts_with(TEMPORARY);
                if made_us(id) < made_before && !(finished && kept.contains(&id)) {
                    orphans.push(name);
                }
            }
            Ok(orphans)
        })
        .await
    }

    /// Removes files from an app's folder; another node can have removed some already. Returns the
    /// number removed.
    ///
    /// # Errors
    /// If one of them cannot be removed; those removed before stay removed.
    pub async fn remove(&self, app: &str, names: Vec<String>) -> io::Result<u64> {
        let (folders, app) = (Arc::clone(&self.0), app.to_owned());
        blocking(move || {
            let folder = match folders.open_dir(&app) {
                Ok(folder) => folder,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(error),
            };
            let mut removed = 0;
            for name in names {
                match folder.remove_file(&name) {
                    Ok(()) => removed += 1,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(removed)
        })
        .await
    }
}

/// Returns when a blob was created, from its id (RFC 9562, section 5.7).
fn made_us(blob: Uuid) -> i64 {
    let made = blob.get_timestamp().map_or((0, 0), |made| made.to_unix());
    i64::try_from(made.0).unwrap_or(0) * 1_000_000 + i64::from(made.1) / 1000
}

/// Opens an app's folder, which is created with its first blob. The folder's own name must be on
/// disk too, or a power cut would delete it with its contents.
fn folder_of(folders: &Dir, app: &str) -> io::Result<Dir> {
    if !folders.is_dir(app) {
        folders.create_dir_all(app)?;
        folders.open(".")?.sync_all()?;
    }
    folders.open_dir(app)
}

/// Writes a blob into its app's folder; it is on disk when this returns.
fn keep(folder: &Dir, blob: Uuid, content: &[u8]) -> io::Result<()> {
    let temporary = format!("{TEMPORARY}{blob}");
    let written = write(folder, &temporary, content)
        .and_then(|()| folder.rename(&temporary, folder, blob.to_string()))
        .and_then(|()| folder.open(".")?.sync_all());
    if written.is_err() {
        let _ = folder.remove_file(&temporary);
    }
    written
}

fn write(folder: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    let mut file = folder.open_with(name, OpenOptions::new().write(true).create_new(true))?;
    file.write_all(content)?;
    file.sync_all()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
