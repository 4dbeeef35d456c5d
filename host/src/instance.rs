//! Checks that a database and a data folder belong to the same instance.
//!
//! ```text
//!  database        data folder     start
//!  same id         same id         yes
//!  another id      another id      refused
//!  new             no id, empty    yes: a new instance, both get its id
//!  new             id, files, key  refused: it is another database, or its data is lost
//!  used            no id           yes, unless all files are of apps that it does not have
//! ```
//!
//! A server on the wrong database would treat every stored file as an orphan. The option
//! `--adopt-data-folder` accepts a refused pair once.
//!
//! Invariant: nothing is written to the database or the folder before they are known to belong
//! together.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::auth::OWNER_KEY_SETTING;
use crate::backup::check_restored;
use crate::blobs::FILES_FOLDER;
use crate::data_folder::Unusable;
use crate::secrets::KEY_FILE;
use crate::store::{self, AppId, DatabaseUrl, Snapshot, Store};

/// The setting that stores the database's id.
const SETTING: &str = "instance_id";
/// The file that stores the data folder's id.
const ID_FILE: &str = "instance";

/// The instance that a database belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InDatabase<'a> {
    /// No server has used it.
    New,
    /// A release without instance ids has used it.
    Unnamed,
    /// The database's id.
    Id(&'a str),
}

/// The instance that a data folder belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InFolder<'a> {
    /// It contains no data of an instance.
    Empty,
    /// It has no id, but a master key or files of apps that are in the database.
    Unnamed,
    /// It has no id, and only files of apps that are not in the database.
    Foreign,
    /// The folder's id.
    Id(&'a str),
}

/// The reason why a database and a data folder do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mismatch {
    /// The database is new, but the folder is not.
    NewDatabase,
    /// They belong to different instances.
    OtherInstance,
}

/// A data folder and a database that can be used together.
#[derive(Debug)]
pub struct Pair {
    /// The folder's id; `None` if it has none yet or gets another one.
    folder_id: Option<String>,
}

/// Checks the database and the data folder before a server uses them. With `adopt`, the folder
/// becomes the database's, whatever it was before.
///
/// # Errors
/// If they do not belong together, or if one of them cannot be read.
pub async fn check(
    url: &DatabaseUrl,
    folder: &Path,
    adopt: bool,
) -> Result<Pair, Box<dyn std::error::Error + Send + Sync>> {
    check_restored(folder)?;
    let folder_id = read_id(folder)?;
    if adopt {
        return Ok(Pair { folder_id: None });
    }
    let apps = if folder_id.is_none() { apps_with_files(folder)? } else { Vec::new() };
    let seen = look(url, &apps).await?;
    let in_database = match &seen {
        Seen { id: Some(id), .. } => InDatabase::Id(id),
        Seen { was_used: true, .. } => InDatabase::Unnamed,
        Seen { was_used: false, .. } => InDatabase::New,
    };
    let in_folder = match &folder_id {
        Some(id) => InFolder::Id(id),
        None if apps.is_empty() && !folder.join(KEY_FILE).exists() => InFolder::Empty,
        None if apps.is_empty() || seen.has_an_app => InFolder::Unnamed,
        None => InFolder::Foreign,
    };
    match mismatch(in_database, in_folder) {
        None => Ok(Pair { folder_id }),
        Some(mismatch) => Err(refused(mismatch, url, folder).into()),
    }
}

/// Checks as [`check`] does, for a command that changes the database or a key without a server. It
/// never creates an instance.
///
/// # Errors
/// As for [`check`]; also if no server has used the database.
pub async fn check_used(
    url: &DatabaseUrl,
    folder: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    check(url, folder, false).await?;
    let seen = look(url, &[]).await?;
    if seen.id.is_none() && !seen.was_used {
        return Err(format!("no server has used the database {url} yet").into());
    }
    Ok(())
}

impl Pair {
    /// Stores the same id in the database and the folder, where it is missing.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub async fn join(
        self,
        store: &Store,
        new_id: String,
        now: i64,
        folder: &Path,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        store.insert_setting(SETTING, &new_id, now).await?;
        // Another node can have stored its id first.
        let id = store.find_setting(SETTING).await?.unwrap_or(new_id);
        if self.folder_id.as_ref() != Some(&id) {
            write_id(folder, &id)?;
        }
        Ok(())
    }
}

fn mismatch(database: InDatabase<'_>, folder: InFolder<'_>) -> Option<Mismatch> {
    match (database, folder) {
        (InDatabase::New, InFolder::Empty) => None,
        (InDatabase::New, _) => Some(Mismatch::NewDatabase),
        (InDatabase::Id(database), InFolder::Id(folder)) if database == folder => None,
        (_, InFolder::Id(_) | InFolder::Foreign) => Some(Mismatch::OtherInstance),
        (_, InFolder::Empty | InFolder::Unnamed) => None,
    }
}

fn refused(mismatch: Mismatch, url: &DatabaseUrl, folder: &Path) -> Unusable {
    let (database, folder) = (url, folder.display());
    let what = match mismatch {
        Mismatch::NewDatabase => format!(
            "the database {database} is new, but the data folder {folder} holds files or a \
             master key of an instance"
        ),
        Mismatch::OtherInstance => {
            format!("the database {database} and the data folder {folder} belong to two instances")
        }
    };
    Unusable(format!(
        "{what}. Either correct PICLOUD_DATABASE_URL or PICLOUD_DATA, or restore the database: a \
         backup's copy instead of this one, or `picloud restore` into an empty folder. Or \
         start once with `picloud serve --adopt-data-folder`: the folder then belongs to this \
         database. The folder's master key must be the key of this database. Files of other apps \
         stay there unused."
    ))
}

/// The facts about an instance in a database.
#[derive(Default)]
struct Seen {
    /// Whether a server has used it.
    was_used: bool,
    id: Option<String>,
    /// Whether any of the given apps exists in it.
    has_an_app: bool,
}

async fn look(url: &DatabaseUrl, apps: &[AppId]) -> Result<Seen, store::Error> {
    if url.file().is_some_and(|file| !file.exists()) {
        return Ok(Seen::default());
    }
    let mut database = Snapshot::open(url).await?;
    let seen = if database.has_settings().await? {
        Seen {
            was_used: database.find_setting(OWNER_KEY_SETTING).await?.is_some(),
            id: database.find_setting(SETTING).await?,
            has_an_app: database.has_one_of(apps).await?,
        }
    } else {
        Seen::default()
    };
    database.close().await?;
    Ok(seen)
}

/// Lists the apps that have a non-empty folder of files.
fn apps_with_files(folder: &Path) -> Result<Vec<AppId>, Unusable> {
    let files = folder.join(FILES_FOLDER);
    let failed = |error: std::io::Error| Unusable(format!("{}: {error}", files.display()));
    let entries = match fs::read_dir(&files) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut apps = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let app = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(app) = app else { continue };
        if fs::read_dir(entry.path()).map_err(failed)?.next().is_some() {
            apps.push(app);
        }
    }
    Ok(apps)
}

fn read_id(folder: &Path) -> Result<Option<String>, Unusable> {
    let path = folder.join(ID_FILE);
    match fs::read_to_string(&path) {
        Ok(id) => Ok(Some(id.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Unusable(format!("{}: {error}", path.display()))),
    }
}

/// Writes the id under a temporary name first: an incomplete file would stop every later start.
fn write_id(folder: &Path, id: &str) -> Result<(), Unusable> {
    let (path, new) = (folder.join(ID_FILE), folder.join("instance.new"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| writeln!(file, "{id}").and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, &path))
        .and_then(|()| fs::File::open(folder)?.sync_all());
    written.map_err(|error| Unusable(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_used_only_if_nothing_speaks_against_it() {
        use InDatabase as D;
        use InFolder as F;
        for (database, folder, expected) in [
            (D::New, F::Empty, None),
            (D::New, F::Unnamed, Some(Mismatch::NewDatabase)),
            (D::New, F::Foreign, Some(Mismatch::NewDatabase)),
            (D::New, F::Id("a"), Some(Mismatch::NewDatabase)),
            (D::Unnamed, F::Empty, None),
            (D::Unnamed, F::Unnamed, None),
            (D::Unnamed, F::Foreign, Some(Mismatch::OtherInstance)),
            (D::Unnamed, F::Id("a"), Some(Mismatch::OtherInstance)),
            (D::Id("a"), F::Empty, None),
            (D::Id("a"), F::Unnamed, None),
            (D::Id("a"), F::Foreign, Some(Mismatch::OtherInstance)),
            (D::Id("a"), F::Id("a"), None),
            (D::Id("a"), F::Id("b"), Some(Mismatch::OtherInstance)),
        ] {
            assert_eq!(mismatch(database, folder), expected, "{database:?} {folder:?}");
        }
    }
}
