//! Caches the guest's compiled code in the data folder, because compiling takes seconds.
//!
//! A file is named `cache/guest-<key>-<sha256>.cwasm`. The key identifies the guest and the
//! compiler settings; the hash is that of the file's content.
//!
//! Invariant: a file is only used if its content has the hash in its name, because it runs as
//! native code.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use sha2::{Digest, Sha256};

const FOLDER: &str = "cache";

/// The folder with the compiled code.
pub(super) struct CodeCache(Dir);

impl CodeCache {
    /// Opens the cache in a data folder, which must exist.
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let open = || {
            let data = Dir::open_ambient_dir(data, ambient_authority())?;
            data.create_dir_all(FOLDER)?;
            data.open_dir(FOLDER)
        };
        let shown = data.join(FOLDER);
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", shown.display()))
        };
        open().map(Self).map_err(named)
    }

    /// Whether a file for this key exists. It can still be damaged.
    pub(super) fn has(data: &Path, key: &str) -> bool {
        let Ok(files) = std::fs::read_dir(data.join(FOLDER)) else {
            return false;
        };
        let mut names = files.flatten().filter_map(|file| file.file_name().into_string().ok());
        names.any(|name| name.starts_with(&prefix(key)))
    }

    /// Returns the intact file for this key. Removes all other files, which are damaged or belong
    /// to other releases.
    pub(super) fn find(&self, key: &str) -> io::Result<Option<File>> {
        let prefix = prefix(key);
        let mut intact = None;
        for entry in self.0.entries()? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !name.starts_with("guest-") {
                continue;
            }
            let hash = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".cwasm"));
            if hash.is_some() && hash == Some(sha256_of(&mut entry.open()?)?.as_str()) {
                intact = Some(entry.open()?.into_std());
            } else {
                self.0.remove_file(&name)?;
            }
        }
        Ok(intact)
    }

    /// Stores code for this key and returns the file. The file gets its name only after all of it
    /// is on disk.
    pub(super) fn insert(&self, key: &str, code: &[u8]) -> io::Result<File> {
        let name = format!("{}{}.cwasm", prefix(key), hex::encode(Sha256::digest(code)));
        let unfinished = format!("{name}.{}", std::process::id());
        let mut options = OpenOptions::new();
        let mut file = self.0.open_with(&unfinished, options.write(true).create_new(true))?;
        file.write_all(code)?;
        file.sync_all()?;
        self.0.rename(&unfinished, &self.0, &name)?;
        Ok(self.0.open(&name)?.into_std())
    }
}

fn prefix(key: &str) -> String {
    format!("guest-{key}-")
}

fn sha256_of(file: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}
