//! Restores a backup into the data folder and the database of a server.
//!
//! Invariant: existing data is not touched. A data folder or database that is not empty is refused,
//! except for the remains of an interrupted restore of the same backup.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::files::{Copying, Lost};
use super::key;
use super::unfinished::{self, NEXT_MARK, Restore};
use super::{
    Failed, Manifest, Result, database_copy, failed, failed_at, open, postgres, see_copy,
    sha256_of, sync,
};
use crate::blobs::{Blobs, FILES_FOLDER};
use crate::config::Config;
use crate::store::{DatabaseUrl, Snapshot};

/// The files allowed in an empty data folder: compiled code, which is created again when needed, a
/// folder of the file system itself, and an incomplete mark.
const NOT_DATA: [&str; 3] = ["cache", "lost+found", NEXT_MARK];

/// Restores a backup into the data folder and the database that `config` refers to. The manifest
/// lists the files that are lost, now or when the backup was made.
///
/// # Errors
/// If `source` is not a backup or is one of the other kind of database, if data already exists, or
/// if something cannot be read or written.
pub async fn restore(config: &Config, source: &Path) -> Result<Manifest> {
    let mut manifest = Manifest::read(source)?;
    let url = config.database_url().map_err(failed("the database"))?;
    if manifest.database != url.kind() {
        let (theirs, ours) = (&manifest.database, url.kind());
        return Err(Failed(format!(
            "the backup is of a {theirs} database, and PICLOUD_DATABASE_URL is for {ours}"
        )));
    }
    let copy = source.join(database_copy(&url));
    check_copy(&manifest, &copy)?;
    let of = manifest.restore_into(&url);
    crate::data_folder::prepare(&config.data).map_err(|error| Failed(error.to_string()))?;
    let _alone = unfinished::lock(&config.data)?;
    let left = Restore::find(&config.data, &of)?;
    if left.is_none() {
        check_empty(&config.data)?;
    }
    check_database(&url, left.as_ref()).await?;
    let restore = match left {
        Some(left) => left.again(&config.data)?,
        None => Restore::begin(&config.data, &of)?,
    };
    let backup = open(source).map_err(failed_at("the backup", source))?;
    let blobs = Blobs::find(&backup).map_err(failed_at("the files of", source))?;
    let data = open(&config.data).map_err(failed_at("the data folder", &config.data))?;
    let target = Blobs::open(&data).map_err(failed_at("the data folder", &config.data))?;
    let mut files = Copying::new(blobs, target);
    key::restore(source, &config.data)?;
    manifest.lost = match url.file() {
        Some(file) => restore_sqlite(&copy, &file, &mut files, restore, &config.data).await?,
        None => restore_postgres(&copy, &url, &mut files, restore, &config.data).await?,
    };
    Ok(manifest)
}

/// Refuses a database that is not empty, unless an interrupted restore of this backup filled it.
async fn check_database(url: &DatabaseUrl, left: Option<&Restore>) -> Result<()> {
    if let Some(file) = url.file() {
        if file.exists() {
            return Err(Failed(format!("a database already exists: {}", file.display())));
        }
        return Ok(());
    }
    let mut database = Snapshot::open(url).await.map_err(failed(url))?;
    let is_empty = database.is_empty().await.map_err(failed(url))?;
    database.close().await.map_err(failed(url))?;
    if is_empty || left.is_some_and(|left| left.has_database) {
        return Ok(());
    }
    Err(Failed(format!("the database {url} is not empty; create a new one")))
}

/// Refuses a copy of the database that has changed since the backup.
fn check_copy(manifest: &Manifest, copy: &Path) -> Result<()> {
    let Some(sha256) = &manifest.database_sha256 else { return Ok(()) };
    if sha256_of(copy)? == *sha256 {
        return Ok(());
    }
    let copy = copy.display();
    Err(Failed(format!("{copy} is damaged: its SHA-256 is not the one in backup.json")))
}

/// Restores the database after the files: without a database no server can start.
async fn restore_sqlite(
    copy: &Path,
    file: &Path,
    files: &mut Copying,
    restore: Restore,
    data: &Path,
) -> Result<BTreeSet<Lost>> {
    let mut moment = see_copy(copy).await?;
    let lost = files.copy_all(&mut moment).await?;
    moment.close().await.map_err(failed("the backup"))?;
    let unfinished = file.with_extension("unfinished");
    fs::copy(copy, &unfinished).map_err(failed_at("cannot write", &unfinished))?;
    sync(&unfinished)?;
    sync(&data.join(FILES_FOLDER))?;
    // Before the database exists: repeating a restore removes files, which a server can use once
    // there is a database.
    restore.end(data)?;
    fs::rename(&unfinished, file).map_err(failed_at("cannot write", file))?;
    sync(file.parent().unwrap_or(file))?;
    Ok(lost)
}

async fn restore_postgres(
    copy: &Path,
    url: &DatabaseUrl,
    files: &mut Copying,
    mut restore: Restore,
    data: &Path,
) -> Result<BTreeSet<Lost>> {
    let mut database = Snapshot::open(url).await.map_err(failed(url))?;
    if database.is_empty().await.map_err(failed(url))? {
        postgres::restore(url, copy).await?;
        restore.database_is_there()?;
    }
    let lost = files.copy_all(&mut database).await?;
    database.close().await.map_err(failed(url))?;
    sync(&data.join(FILES_FOLDER))?;
    restore.end(data)?;
    Ok(lost)
}

/// Refuses a data folder that is not empty.
fn check_empty(data: &Path) -> Result<()> {
    for entry in fs::read_dir(data).map_err(failed_at("the data folder", data))? {
        let name = entry.map_err(failed_at("the data folder", data))?.file_name();
        if !NOT_DATA.iter().any(|known| name == *known) {
            let (data, name) = (data.display(), name.display());
            return Err(Failed(format!("the data folder {data} is not empty: it has {name}")));
        }
    }
    Ok(())
}
