//! The way back: a backup becomes the data folder and the database of a server.
//!
//! Invariant: what is there already is not touched: a data folder or database that is
//! not empty is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::files::{Copying, Lost};
use super::key;
use super::{
    Failed, Manifest, POSTGRES_DUMP, Result, SQLITE_COPY, failed, failed_at, open, postgres,
    see_copy, sync,
};
use crate::config::Config;
use crate::executor::blobs::Blobs;
use crate::store::{DatabaseUrl, Snapshot};

/// What may be in a data folder that counts as empty: compiled code, which is made again
/// at need, and what a file system has of its own.
const NOT_DATA: [&str; 2] = ["cache", "lost+found"];

/// Restores a backup into the data folder and the database that `config` leads to. The
/// manifest names the files that are lost, now or when the backup was made.
///
/// # Errors
/// When `source` is no backup or of the other kind of database, when there is something
/// already, or when something cannot be read or written.
pub async fn restore(config: &Config, source: &Path) -> Result<Manifest> {
    let mut manifest = Manifest::read(source)?;
    let url = config.database_url().map_err(failed("the database"))?;
    if manifest.database != url.kind() {
        let (theirs, ours) = (&manifest.database, url.kind());
        return Err(Failed(format!(
            "the backup is of a {theirs} database, and PICLOUD_DATABASE_URL leads to {ours}"
        )));
    }
    prepare(&config.data)?;
    let backup = open(source).map_err(failed_at("the backup", source))?;
    let blobs = Blobs::find(&backup).map_err(failed_at("the files of", source))?;
    let data = open(&config.data).map_err(failed_at("the data folder", &config.data))?;
    let target = Blobs::open(&data).map_err(failed_at("the data folder", &config.data))?;
    let mut files = Copying::new(blobs, target);
    key::restore(source, &config.data)?;
    manifest.lost = match url.file() {
        Some(file) => restore_sqlite(source, &file, &mut files).await?,
        None => restore_postgres(source, &url, &mut files).await?,
    };
    sync(&config.data.join("files"))?;
    sync(&config.data)?;
    Ok(manifest)
}

/// The database comes last: without one there is nothing that could be started.
async fn restore_sqlite(source: &Path, file: &Path, files: &mut Copying) -> Result<BTreeSet<Lost>> {
    if file.exists() {
        return Err(Failed(format!("there is a database already: {}", file.display())));
    }
    let copy = source.join(SQLITE_COPY);
    let mut moment = see_copy(&copy).await?;
    let lost = files.copy_all(&mut moment).await?;
    moment.close().await.map_err(failed("the backup"))?;
    let unfinished = file.with_extension("unfinished");
    fs::copy(&copy, &unfinished).map_err(failed_at("cannot write", &unfinished))?;
    sync(&unfinished)?;
    fs::rename(&unfinished, file).map_err(failed_at("cannot write", file))?;
    sync(file.parent().unwrap_or(file))?;
    Ok(lost)
}

async fn restore_postgres(
    source: &Path,
    url: &DatabaseUrl,
    files: &mut Copying,
) -> Result<BTreeSet<Lost>> {
    let mut database = Snapshot::open(url).await.map_err(failed(url))?;
    if !database.is_empty().await.map_err(failed(url))? {
        return Err(Failed(format!("the database {url} is not empty; make a new one")));
    }
    postgres::restore(url, &source.join(POSTGRES_DUMP)).await?;
    let lost = files.copy_all(&mut database).await?;
    database.close().await.map_err(failed(url))?;
    Ok(lost)
}

/// Makes the data folder, and refuses one that has something in it.
fn prepare(data: &Path) -> Result<()> {
    crate::data_folder::prepare(data).map_err(|error| Failed(error.to_string()))?;
    for entry in fs::read_dir(data).map_err(failed_at("the data folder", data))? {
        let name = entry.map_err(failed_at("the data folder", data))?.file_name();
        if !NOT_DATA.iter().any(|known| name == *known) {
            let (data, name) = (data.display(), name.display());
            return Err(Failed(format!("the data folder {data} is not empty: it has {name}")));
        }
    }
    Ok(())
}
