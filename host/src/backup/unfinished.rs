//! Unfinished backups and restores: recognising and repeating interrupted ones.
//!
//! Invariant: only files of an unfinished backup or restore are removed.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::manifest::NAME as MANIFEST;
use super::{Failed, POSTGRES_DUMP, Result, SQLITE_COPY, failed_at, sync};
use crate::blobs::FILES_FOLDER;
use crate::secrets::KEY_FILE;

/// All files of a backup.
const OF_A_BACKUP: [&str; 5] = [FILES_FOLDER, KEY_FILE, SQLITE_COPY, POSTGRES_DUMP, MANIFEST];

/// The file that marks a restore into a data folder as unfinished.
const RESTORE_MARK: &str = "restore.unfinished";

/// The mark while it is being written.
pub(super) const NEXT_MARK: &str = "restore.unfinished.next";

/// Creates the folder of a backup, replacing that of an interrupted backup. The backup holds the
/// returned file until it ends.
///
/// # Errors
/// If another backup is in progress there, or if other files exist.
pub(super) fn folder(folder: &Path) -> Result<File> {
    // Owner only, because it contains every secret of the instance.
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

/// Locks a folder as long as the returned file is open.
///
/// # Errors
/// If another backup or restore uses it, or if it cannot be opened.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let failed = || failed_at("the folder", folder);
    let opened = File::open(folder).map_err(failed())?;
    let is_locked = match opened.try_lock() {
        // Another backup can have removed the folder that was opened, and created it again.
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
    Err(Failed(format!("another backup or restore is using {}", folder.display())))
}

/// Refuses a folder with files that are not from a backup.
fn check_left(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(failed_at("the backup", folder))? {
        let name = entry.map_err(failed_at("the backup", folder))?.file_name();
        if !OF_A_BACKUP.iter().any(|known| name == *known) {
            let (folder, name) = (folder.display(), name.display());
            return Err(Failed(format!(
                "{folder} is not an unfinished backup: it contains {name}"
            )));
        }
    }
    Ok(())
}

/// An unfinished restore into a data folder.
pub(super) struct Restore {
    mark: PathBuf,
    /// The backup and the target database.
    of: String,
    /// Whether the database is restored, by this or a previous attempt.
    pub(super) has_database: bool,
}

impl Restore {
    /// Returns the interrupted restore of this backup in this folder, if any.
    ///
    /// # Errors
    /// If the interrupted restore is another one, or cannot be read.
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

    /// Marks a folder as unfinished.
    pub(super) fn begin(data: &Path, of: &str) -> Result<Self> {
        let restore =
            Self { mark: data.join(RESTORE_MARK), of: of.to_owned(), has_database: false };
        restore.write("")?;
        Ok(restore)
    }

    /// Records that the database is restored.
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

    /// Starts again: removes the files of the previous attempt, and keeps its database.
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

    /// Marks the folder as complete.
    pub(super) fn end(self, data: &Path) -> Result<()> {
        fs::remove_file(&self.mark).map_err(failed_at("cannot remove", &self.mark))?;
        sync(data)
    }
}

/// Refuses a data folder with an unfinished restore: a server would miss files.
///
/// # Errors
/// If the restore is not finished.
pub fn check_restored(data: &Path) -> Result<()> {
    if data.join(RESTORE_MARK).exists() {
        let data = data.display();
        return Err(Failed(format!(
            "a restore into {data} was interrupted: run `picloud restore` again"
        )));
    }
    Ok(())
}
