//! The master key as a file in the data folder.
//!
//! Invariant: a file with the key's name is complete and on disk.
//! Invariant: a key that other users can read is not used.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::{KeyError, MasterKey};
use crate::clock::Clock;

/// The file of the master key, in the data folder.
pub const KEY_FILE: &str = "master.key";
/// The file of the next master key, while a rotation is in progress.
pub const NEXT_KEY_FILE: &str = "master.key.next";

/// The mode of a key's file.
const MODE: u32 = 0o600;
/// A larger file is not a key.
const FILE_BYTES_MAX: u64 = 1024;

/// Reads a key, if the file exists.
///
/// # Errors
/// If the key is damaged or other users can read it.
pub(super) fn read(path: &Path) -> Result<Option<MasterKey>, KeyError> {
    let shown = path.display();
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KeyError(format!("the master key {shown}: {error}"))),
    };
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError(format!(
            "the master key {shown} is accessible to users other than its owner (mode {mode:04o}): \
             run `chmod 600 {shown}`, and consider `picloud master-key rotate`, because other \
             users may have read the key"
        )));
    }
    let damaged = || {
        KeyError(format!(
            "the master key {shown} is damaged: it must hold 64 hexadecimal digits; without it \
             no secret can be opened, so restore it from a backup"
        ))
    };
    if !about.is_file() || about.len() > FILE_BYTES_MAX {
        return Err(damaged());
    }
    let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
        if error.kind() == ErrorKind::InvalidData { damaged() } else { failed(path)(error) }
    })?;
    text.trim().parse().map(Some).map_err(|_| damaged())
}

/// Returns the key of the file, which is created if it is missing.
///
/// # Errors
/// As for [`read`], and if the folder cannot be written.
pub(super) fn find_or_create(path: &Path, clock: &Clock) -> Result<MasterKey, KeyError> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let key = MasterKey::generate(clock);
    if create(path, &key)? {
        return Ok(key);
    }
    // Another process created it first.
    read(path)?.ok_or_else(|| KeyError(format!("the master key {} was deleted", path.display())))
}

/// Writes a key into a new file. Returns `false` if the file exists, because another process
/// created it.
fn create(path: &Path, key: &MasterKey) -> Result<bool, KeyError> {
    let unfinished = path.with_added_extension("unfinished");
    write(&unfinished, key).map_err(failed(path))?;
    // Unlike a rename, a link never replaces a file.
    let linked = fs::hard_link(&unfinished, path);
    let made = match linked {
        Ok(()) => fs::remove_file(&unfinished).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(&unfinished).map(|()| false)
        }
        // The file system has no links.
        Err(_) => fs::rename(&unfinished, path).map(|()| true),
    };
    let made = made.map_err(failed(path))?;
    sync_folder(path).map_err(failed(path))?;
    Ok(made)
}

/// Replaces the key's file with the next key's file.
///
/// # Errors
/// If the folder cannot be written.
pub(super) fn replace(next: &Path, path: &Path) -> Result<(), KeyError> {
    fs::rename(next, path).and_then(|()| sync_folder(path)).map_err(failed(path))
}

fn write(path: &Path, key: &MasterKey) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(key.to_hex().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> KeyError {
    move |error| KeyError(format!("the master key {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        assert!(read(&path).unwrap().is_none());
        let key = MasterKey::generate(&Clock::system());
        assert!(create(&path, &key).unwrap());
        assert_eq!(read(&path).unwrap().unwrap().id(), key.id());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);
        // A second key replaces nothing, and leaves no file behind.
        assert!(!create(&path, &MasterKey::generate(&Clock::system())).unwrap());
        assert_eq!(read(&path).unwrap().unwrap().id(), key.id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_half_written_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        fs::write(path.with_added_extension("unfinished"), "abc").unwrap();
        assert!(create(&path, &MasterKey::generate(&Clock::system())).unwrap());
        assert!(read(&path).unwrap().is_some());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn a_key_that_is_damaged_or_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        create(&path, &MasterKey::generate(&Clock::system())).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let said = read(&path).unwrap_err().to_string();
            assert!(said.contains("accessible to users") && said.contains("chmod 600"), "{said}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path).unwrap().is_some());
        fs::remove_file(&path).unwrap();
        let long = "a".repeat(2000);
        for damaged in [&b""[..], b"abc", b"\xff\xfe", long.as_bytes()] {
            fs::write(&path, damaged).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(MODE)).unwrap();
            let said = read(&path).unwrap_err().to_string();
            assert!(said.contains("is damaged"), "{said}");
        }
    }
}
