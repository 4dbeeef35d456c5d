//! Backups of all stored data, made while servers run, and their restore.
//!
//! ```text
//! DEST/backup.json        the manifest, with the time of the backup
//! DEST/picloud.db         SQLite: the database          PostgreSQL: picloud.dump
//! DEST/files/APP/BLOB     the contents of files
//! DEST/master.key         the master key, unless it is in the environment
//! ```
//!
//! A blob never changes, but the blob of a replaced file is swept. The copy of the database shows
//! one moment, and the backup must contain every blob that it describes:
//!
//! 1. Copy the blobs that are described now: the long part.
//! 2. Copy the database. Its moment lies in this step.
//! 3. Copy the blobs that it describes and step 1 did not see. They are younger than this round,
//!    and a freed blob is kept for a while (`retention/sweep.rs`). If one is missing because the
//!    round took longer, the round is repeated. A second round only copies new blobs.
//!
//! A blob that is described at that moment, but was missing before it, is lost: no sweep can have
//! removed it. It is reported, and everything else is stored.
//!
//! Invariant: DEST only gets its name when everything in it is on disk. Until then it is called
//! `DEST.unfinished`; the next backup to DEST replaces an interrupted one.
//! Invariant: the source is not changed, and servers are neither stopped nor waited for.

mod files;
mod key;
mod manifest;
mod postgres;
mod restore;
mod unfinished;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use sha2::{Digest, Sha256};

use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{DatabaseUrl, Snapshot};

use files::Copying;
pub use files::Lost;
use key::CopiedKey;
pub use manifest::{Manifest, MasterKeyOf};
pub use restore::restore;
pub use unfinished::check_restored;

/// The file name of the copy of an SQLite database.
const SQLITE_COPY: &str = "picloud.db";
/// The file name of the dump of a PostgreSQL database.
const POSTGRES_DUMP: &str = "picloud.dump";
/// The number of bytes of a file hashed at once.
const HASHED_AT_ONCE_BYTES: usize = 1 << 20;
/// The number of rounds after which missing files count as lost.
const ROUNDS_MAX: usize = 5;

/// The error of a backup or a restore, in words for operators.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

type Result<T, E = Failed> = std::result::Result<T, E>;

/// Backs up the data that `config` refers to, into the folder `dest`, which must not exist.
///
/// # Errors
/// If something cannot be read or written; `dest` does not exist then. Lost files are not an error:
/// the manifest lists them.
pub async fn back_up(config: &Config, clock: &Clock, dest: &Path) -> Result<Manifest> {
    run(Backup::begin(config, dest)?, clock).await
}

/// Backs up without the master key. Secrets, and the credentials in stored requests, can then only
/// be opened with a key from elsewhere.
///
/// # Errors
/// As for [`back_up`].
pub async fn back_up_without_master_key(
    config: &Config,
    clock: &Clock,
    dest: &Path,
) -> Result<Manifest> {
    let mut backup = Backup::begin(config, dest)?;
    backup.key.leave_out();
    run(backup, clock).await
}

async fn run(mut backup: Backup, clock: &Clock) -> Result<Manifest> {
    match backup.run(clock).await {
        Ok(manifest) => Ok(manifest),
        Err(failed) => {
            // We created the folder, under a name that no other process uses.
            let _ = fs::remove_dir_all(&backup.folder);
            Err(failed)
        }
    }
}

/// A backup in progress. Its steps are public for tests of changes between them.
pub struct Backup {
    url: DatabaseUrl,
    dest: PathBuf,
    /// The folder's name until the backup is complete.
    folder: PathBuf,
    files: Copying,
    key: CopiedKey,
    /// Held until the backup ends.
    _lock: File,
}

impl Backup {
    /// Creates the folder.
    ///
    /// # Errors
    /// If the folder exists, or there is no data folder.
    pub fn begin(config: &Config, dest: &Path) -> Result<Self> {
        let url = config.database_url().map_err(failed("the database"))?;
        let data = open(&config.data).map_err(failed_at("the data folder", &config.data))?;
        let source = Blobs::find(&data).map_err(failed_at("the files of", &config.data))?;
        let key = CopiedKey::read(config)?;
        let dest = std::path::absolute(dest).map_err(failed_at("the backup", dest))?;
        if dest.symlink_metadata().is_ok() {
            return Err(Failed(format!("{} already exists", dest.display())));
        }
        let mut folder = dest.clone().into_os_string();
        folder.push(".unfinished");
        let folder = PathBuf::from(folder);
        let lock = unfinished::folder(&folder)?;
        let target = open(&folder).and_then(|folder| Blobs::open(&folder));
        let files = Copying::new(source, target.map_err(failed_at("the backup", &folder))?);
        Ok(Self { url, dest, folder, files, key, _lock: lock })
    }

    async fn run(&mut self, clock: &Clock) -> Result<Manifest> {
        let lost = self.copy_rounds().await?;
        let of_key = self.key.write_into(&self.folder)?;
        let sha256 = sha256_of(&self.folder.join(database_copy(&self.url)))?;
        let manifest = Manifest::new(&self.url, clock.now_us(), &self.files, lost, of_key, sha256);
        manifest.write(&self.folder)?;
        sync(&self.folder.join("files"))?;
        sync(&self.folder)?;
        fs::rename(&self.folder, &self.dest).map_err(failed_at("the backup", &self.dest))?;
        sync(self.dest.parent().unwrap_or(&self.dest))?;
        Ok(manifest)
    }

    /// Repeats rounds until one has seen every blob that the database describes. Returns the lost
    /// ones.
    async fn copy_rounds(&mut self) -> Result<BTreeSet<Lost>> {
        let mut round = 1;
        loop {
            let gone_before = self.copy_files_of_now().await?;
            let moment = self.copy_database().await?;
            let gone = self.copy_files_of(moment).await?;
            if round == ROUNDS_MAX || gone.is_subset(&gone_before) {
                return Ok(gone);
            }
            round += 1;
        }
    }

    /// Step 1: copies the blobs that are described now. Returns the missing ones.
    ///
    /// # Errors
    /// If the database or a blob cannot be read, or a copy cannot be written.
    pub async fn copy_files_of_now(&mut self) -> Result<BTreeSet<Lost>> {
        let now = Snapshot::open(&self.url).await.map_err(failed(&self.url))?;
        self.copy_files_of(now).await
    }

    /// Step 2: copies the database. Returns a snapshot of the same moment.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub async fn copy_database(&mut self) -> Result<Snapshot> {
        let mut source = Snapshot::open(&self.url).await.map_err(failed(&self.url))?;
        let copy = self.folder.join(database_copy(&self.url));
        if self.url.file().is_none() {
            let moment = source.export().await.map_err(failed(&self.url))?;
            postgres::dump(&self.url, &moment, &copy).await?;
            sync(&copy)?;
            return Ok(source);
        }
        // The copy of a previous round.
        if copy.exists() {
            fs::remove_file(&copy).map_err(failed_at("the copy", &copy))?;
        }
        source.copy_into(&copy).await.map_err(failed(&self.url))?;
        source.close().await.map_err(failed(&self.url))?;
        sync(&copy)?;
        see_copy(&copy).await
    }

    /// Step 3: copies the blobs described in a snapshot. Returns the missing ones.
    ///
    /// # Errors
    /// If the snapshot or a blob cannot be read, or a copy cannot be written.
    pub async fn copy_files_of(&mut self, mut moment: Snapshot) -> Result<BTreeSet<Lost>> {
        let gone = self.files.copy_all(&mut moment).await?;
        moment.close().await.map_err(failed(&self.url))?;
        Ok(gone)
    }
}

/// Returns the file name of the database's copy.
fn database_copy(url: &DatabaseUrl) -> &'static str {
    if url.file().is_some() { SQLITE_COPY } else { POSTGRES_DUMP }
}

/// Returns the SHA-256 of a file's content, in hexadecimal.
fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(failed_at("cannot read", path))?;
    let (mut hash, mut part) = (Sha256::new(), vec![0; HASHED_AT_ONCE_BYTES]);
    loop {
        match file.read(&mut part).map_err(failed_at("cannot read", path))? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&part[..read]),
        }
    }
}

/// Opens the copy of an SQLite database for reading.
async fn see_copy(copy: &Path) -> Result<Snapshot> {
    let url = DatabaseUrl::sqlite_file(copy).map_err(failed_at("the copy", copy))?;
    Snapshot::open(&url).await.map_err(failed(&url))
}

fn open(folder: &Path) -> std::io::Result<Dir> {
    Dir::open_ambient_dir(folder, ambient_authority())
}

/// Waits until a file, or the names in a folder, are on disk.
fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed_at("cannot keep", path))
}

/// Returns a function that turns an error into one with its subject.
fn failed<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> Failed {
    move |error| Failed(format!("{what}: {error}"))
}

/// Returns a function that turns an error into one with its subject and path.
fn failed_at<E: std::fmt::Display>(what: &str, path: &Path) -> impl FnOnce(E) -> Failed {
    move |error| Failed(format!("{what} {}: {error}", path.display()))
}
