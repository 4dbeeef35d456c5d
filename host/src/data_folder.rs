//! The data folder: only its owner can read it, and only one server uses its SQLite database.
//!
//! ```text
//!  open to others ─┬─ ours ──▶ mode 0700
//!                  └─ not ours ──▶ a warning; refused if others can read the database or a key
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::secrets::{KEY_FILE, NEXT_KEY_FILE};

/// The database's file in the folder, unless it is configured elsewhere.
pub const DATABASE_FILE: &str = "picloud.db";
/// The suffix that turns the database's file name into that of its lock.
const LOCK_SUFFIX: &str = ".lock";
/// The modes of the folder and of its files.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The folder cannot be used; the message says how to fix it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub(crate) String);

/// Creates the folder if it is missing, and makes it private.
///
/// # Errors
/// If the folder cannot be created, or if others can read secrets in it.
pub fn prepare(folder: &Path) -> Result<(), Unusable> {
    let shown = folder.display();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Unusable(format!("the data folder {shown}: it is not a folder"))
        }
        _ => Unusable(format!("the data folder {shown}: {error}")),
    };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed)?;
    let about = fs::metadata(folder).map_err(failed)?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if is_ours(&about) && close(folder).is_ok() {
        tracing::info!(
            "the data folder {shown} was open to others (mode {mode:04o}); it is private now"
        );
        return Ok(());
    }
    for name in [DATABASE_FILE, "picloud.db-wal", KEY_FILE, NEXT_KEY_FILE] {
        let file = folder.join(name);
        if is_readable_for_others(mode, &file) {
            let file = file.display();
            return Err(Unusable(format!(
                "others can read {file}: the data folder {shown} is open to them (mode \
                 {mode:04o}) and belongs to another user; run `chmod 600 {file}`, or as its \
                 owner `chmod 700 {shown}`"
            )));
        }
    }
    tracing::warn!(
        "the data folder {shown} is open to others (mode {mode:04o}): chmod 700 {shown}"
    );
    Ok(())
}

/// Returns why a database's file cannot be read and written: it is a folder, belongs to another
/// user, or is on a read-only disk. `None` if it can be used, or if it does not exist.
#[must_use]
pub fn why_unusable(database: &Path) -> Option<String> {
    match OpenOptions::new().read(true).write(true).open(database) {
        Err(error) if error.kind() != ErrorKind::NotFound => Some(error.to_string()),
        _ => None,
    }
}

/// Locks an SQLite database for this process until the file is dropped.
///
/// # Errors
/// If another server uses it, or if the lock cannot be created.
pub fn lock(database: &Path) -> Result<File, Unusable> {
    // SQLite creates its other files with the mode of this one.
    let made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(database);
    let failed =
        |path: &Path, error: std::io::Error| Unusable(format!("{}: {error}", path.display()));
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(failed(database, error));
        }
        _ => {}
    }
    // The database of an older release can be open to others. `prepare` refuses dangerous cases.
    let _ = fs::set_permissions(database, fs::Permissions::from_mode(FILE_MODE));
    let mut path = database.as_os_str().to_owned();
    path.push(LOCK_SUFFIX);
    let path = PathBuf::from(path);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = file.map_err(|error| failed(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Unusable(format!(
            "another server uses the database {}: stop it first, or use PostgreSQL for \
             several",
            database.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(&path, error)),
    }
}

fn close(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE))
}

/// Whether the file or folder belongs to this process's user.
fn is_ours(about: &fs::Metadata) -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == about.uid())
}

/// Whether other users can enter a folder of this mode and read the file.
fn is_readable_for_others(folder_mode: u32, file: &Path) -> bool {
    let Ok(about) = fs::metadata(file) else { return false };
    let mode = about.permissions().mode();
    let by = |enter: u32, read: u32| folder_mode & enter != 0 && mode & read != 0;
    by(0o010, 0o040) || by(0o001, 0o004)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_of_ours_is_closed_to_others() {
        let parent = tempfile::tempdir().unwrap();
        let new = parent.path().join("a/b");
        prepare(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        for open in [0o755, 0o750, 0o701, 0o777] {
            set_mode(&new, open);
            prepare(&new).unwrap();
            assert_eq!(mode(&new), 0o700, "{open:o}");
        }
    }

    #[test]
    fn others_read_what_both_modes_let_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for (folder_mode, file_mode, readable) in [
            (0o755, 0o644, true),
            (0o755, 0o600, false),
            (0o750, 0o640, true),
            (0o750, 0o604, false),
            (0o744, 0o644, false),
            (0o701, 0o604, true),
        ] {
            set_mode(&file, file_mode);
            let found = is_readable_for_others(folder_mode, &file);
            assert_eq!(found, readable, "{folder_mode:o} {file_mode:o}");
        }
        assert!(!is_readable_for_others(0o777, &folder.path().join("none")));
    }

    #[test]
    fn a_database_is_one_servers_until_that_ends() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("picloud.db");
        fs::write(&database, "").unwrap();
        set_mode(&database, 0o644);
        let first = lock(&database).unwrap();
        assert_eq!(mode(&database), 0o600);
        let refused = lock(&database).unwrap_err().to_string();
        assert!(refused.contains("another server uses the database"), "{refused}");
        lock(&folder.path().join("other.db")).unwrap();
        drop(first);
        lock(&database).unwrap();
    }
}
