//! Unfinished backups and restores: how an interrupted one is recognised and repeated.
//!
//! Invariant: nothing is removed but what a backup or a restore has made and not finished.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::manifest::NAME as MANIFEST;
use super::{Failed, POSTGRES_DUMP, Result, SQLITE_COPY, failed_at, sync};
use crate::blobs::FILES_FOLDER;
use crate::secrets::KEY_FILE;

/// All that is in a backup.
const OF_A_BACKUP: [&str; 5] = [FILES_FOLDER, KEY_FILE, SQLITE_COPY, POSTGRES_DUMP, MANIFEST];

/// The file that says that a restore into a data folder is not finished.
const RESTORE_MARK: &str = "restore.unfinished";

/// The same, before it is whole.
pub(super) const NEXT_MARK: &str = "restore.unfinished.next";

/// Makes the folder that a backup is made in, in the place of one that an interrupted backup has
/// left. The backup holds the file for as long as it goes on.
///
/// # Errors
/// When another backup goes on there, or there is something else.
pub(super) fn folder(folder: &Path) -> Result<File> {
    // It holds every secret of the instance.
    let make = || DirBuilder::new().mode(0o700).create(folder);
    match make() {
        Ok(()) => lock(folder),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let _left = lock(folder)?;
            check_left(folder)?;
            fs::remove_dir_all(folder).map_err(failed_at("the backup", folder))?;
            make().map_err(failed_at("the backup", folder))?;
            lock(folder)
        }
        Err(error) => Err(failed_at("the backup", folder)(error)),
    }
}

/// Locks a folder, for as long as the file is kept.
///
/// # Errors
/// When another backup or restore works in it, or it cannot be opened.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let failed = || failed_at("the folder", folder);
    let opened = File::open(folder).map_err(failed())?;
    let is_locked = match opened.try_lock() {
        // Another backup may have removed the folder that was opened, and made it anew.
        Ok(()) => {
            let (ours, named) = (opened.metadata().map_err(failed())?, fs::metadata(folder));
            named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()))
        }
        Err(fs::TryLockError::WouldBlock) => false,
        Err(fs::TryLockError::Error(error)) => return Err(failed()(error)),
    };
    if is_locked {
        return Ok(opened);
    }
    Err(Failed(format!("another backup or restore works in {}", folder.display())))
}

/// Refuses what no backup has left.
fn check_left(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(failed_at("the backup", folder))? {
        let name = entry.map_err(failed_at("the backup", folder))?.file_name();
        if !OF_A_BACKUP.iter().any(|known| name == *known) {
            let (folder, name) = (folder.display(), name.display());
            return Err(Failed(format!("{folder} is no unfinished backup: it has {name}")));
        }
    }
    Ok(())
}

/// A restore into a data folder that is not finished.
pub(super) struct Restore {
    mark: PathBuf,
    /// Of which backup, and into which database.
    of: String,
    /// Whether the database was restored, by this try or the one before.
    pub(super) has_database: bool,
}

impl Restore {
    /// The one that was interrupted in this folder, if it was this one.
    ///
    /// # Errors
    /// When it was another, or cannot be read.
    pub(super) fn find(data: &Path, of: &str) -> Result<Option<Self>> {
        let mark = data.join(RESTORE_MARK);
        let text = match fs::read_to_string(&mark) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed_at("cannot read", &mark)(error)),
        };
        let mut lines = text.lines();
        if lines.next() != Some(of) {
            let data = data.display();
            return Err(Failed(format!(
                "another restore into {data} was interrupted: repeat that one, or empty the folder"
            )));
        }
        let has_database = lines.next().is_some();
        Ok(Some(Self { mark, of: of.to_owned(), has_database }))
    }

    /// Marks a folder as not finished.
    pub(super) fn begin(data: &Path, of: &str) -> Result<Self> {
        let restore =
            Self { mark: data.join(RESTORE_MARK), of: of.to_owned(), has_database: false };
        restore.write("")?;
        Ok(restore)
    }

    /// Notes that the database is restored.
    pub(super) fn database_is_there(&mut self) -> Result<()> {
        self.write("database\n")?;
        self.has_database = true;
        Ok(())
    }

    fn write(&self, more: &str) -> Result<()> {
        let next = self.mark.with_file_name(NEXT_MARK);
        let written = File::create(&next).and_then(|mut file| {
            write!(file, "{}\n{more}", self.of)?;
            file.sync_all()?;
            fs::rename(&next, &self.mark)
        });
        written.map_err(failed_at("cannot write", &self.mark))
    }

    /// Begins again: what the try before has copied is removed, what it has of the database stays.
    pub(super) fn again(self, data: &Path) -> Result<Self> {
        for (name, remove) in [
            (FILES_FOLDER, fs::remove_dir_all as fn(PathBuf) -> std::io::Result<()>),
            (KEY_FILE, fs::remove_file),
        ] {
            match remove(data.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed_at("cannot remove", &data.join(name))(error));
                }
                _ => {}
            }
        }
        Ok(self)
    }

    /// The folder is whole from now on.
    pub(super) fn end(self, data: &Path) -> Result<()> {
        fs::remove_file(&self.mark).map_err(failed_at("cannot remove", &self.mark))?;
        sync(data)
    }
}

/// Refuses a data folder whose restore is not finished: a server would miss files.
///
/// # Errors
/// Then.
pub fn check_restored(data: &Path) -> Result<()> {
    if data.join(RESTORE_MARK).exists() {
        let data = data.display();
        return Err(Failed(format!(
            "a restore into {data} was interrupted: do `picloud restore` again"
        )));
    }
    Ok(())
}
