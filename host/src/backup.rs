//! Backups: all that is kept, copied while servers work, and the way back.
//!
//! ```text
//! DEST/backup.json        what it is, and when it was made
//! DEST/picloud.db         SQLite: the database          PostgreSQL: picloud.dump
//! DEST/files/APP/BLOB     the contents of files
//! DEST/master.key         the master key, unless it is in the environment
//! ```
//!
//! A blob never changes, but one whose file was replaced is swept. The copy of the
//! database is of one moment, and every blob that it describes has to be in the backup:
//!
//! 1. The blobs that are described now are copied: the long part.
//! 2. The database is copied. Its moment is in this step.
//! 3. The blobs that it describes and step 1 did not see are copied. They are younger
//!    than this round, and what is swept is older than an hour
//!    (`orchestrator/retention.rs`). Should one be gone all the same, because the round
//!    took longer, the round is repeated; a second one has only to copy what is new.
//!
//! A blob that was gone before the moment and is described at it is lost: no sweep can
//! have taken it. It is reported, and everything else is kept.
//!
//! Invariant: DEST has its name only when everything in it is on disk; until then it is
//! called `DEST.unfinished`, and the next backup to DEST takes the place of one that was interrupted.
//! Invariant: what is backed up is not changed, and no server is waited for or stopped.

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

/// The copy of an SQLite database.
const SQLITE_COPY: &str = "picloud.db";
/// The dump of a PostgreSQL database.
const POSTGRES_DUMP: &str = "picloud.dump";
/// How much of a file is hashed at once.
const HASHED_AT_ONCE_BYTES: usize = 1 << 20;
/// Rounds after which files that come and go are taken for lost.
const ROUNDS_MAX: usize = 5;

/// Why there is no backup, or nothing was restored, in words for the owner.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

type Result<T, E = Failed> = std::result::Result<T, E>;

/// Makes a backup of what `config` leads to, in the folder `dest`, which must not exist.
///
/// # Errors
/// When something cannot be read or written; then there is no `dest`. Files that are
/// lost are no error: the manifest names them.
pub async fn back_up(config: &Config, clock: &Clock, dest: &Path) -> Result<Manifest> {
    run(Backup::begin(config, dest)?, clock).await
}

/// The same without the master key: secrets, and the credentials in stored requests, open only
/// with the key from elsewhere.
///
/// # Errors
/// As [`back_up`].
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
            // We have made it, under a name that nobody else uses.
            let _ = fs::remove_dir_all(&backup.folder);
            Err(failed)
        }
    }
}

/// A backup that is being made. Its steps are public for tests of what happens between
/// them.
pub struct Backup {
    url: DatabaseUrl,
    dest: PathBuf,
    /// Where it is until it is whole.
    folder: PathBuf,
    files: Copying,
    key: CopiedKey,
    /// Held for as long as it is made.
    _lock: File,
}

impl Backup {
    /// Makes the folder.
    ///
    /// # Errors
    /// When there is one already, or no data folder.
    pub fn begin(config: &Config, dest: &Path) -> Result<Self> {
        let url = config.database_url().map_err(failed("the database"))?;
        let data = open(&config.data).map_err(failed_at("the data folder", &config.data))?;
        let source = Blobs::find(&data).map_err(failed_at("the files of", &config.data))?;
        let key = CopiedKey::read(config)?;
        let dest = std::path::absolute(dest).map_err(failed_at("the backup", dest))?;
        if dest.symlink_metadata().is_ok() {
            return Err(Failed(format!("{} is there already", dest.display())));
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

    /// Rounds, until one has seen every blob that the database describes: the ones that
    /// are lost.
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

    /// Step 1: the blobs that are described now. Which of them are gone.
    ///
    /// # Errors
    /// When the database or a blob cannot be read, or a copy not written.
    pub async fn copy_files_of_now(&mut self) -> Result<BTreeSet<Lost>> {
        let now = Snapshot::open(&self.url).await.map_err(failed(&self.url))?;
        self.copy_files_of(now).await
    }

    /// Step 2: the database. It is seen as its copy is.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub async fn copy_database(&mut self) -> Result<Snapshot> {
        let mut source = Snapshot::open(&self.url).await.map_err(failed(&self.url))?;
        let copy = self.folder.join(database_copy(&self.url));
        if self.url.file().is_none() {
            let moment = source.export().await.map_err(failed(&self.url))?;
            postgres::dump(&self.url, &moment, &copy).await?;
            sync(&copy)?;
            return Ok(source);
        }
        // That of a round before.
        if copy.exists() {
            fs::remove_file(&copy).map_err(failed_at("the copy", &copy))?;
        }
        source.copy_into(&copy).await.map_err(failed(&self.url))?;
        source.close().await.map_err(failed(&self.url))?;
        sync(&copy)?;
        see_copy(&copy).await
    }

    /// Step 3: the blobs that are described in a snapshot. Which of them are gone.
    ///
    /// # Errors
    /// When the snapshot or a blob cannot be read, or a copy not written.
    pub async fn copy_files_of(&mut self, mut moment: Snapshot) -> Result<BTreeSet<Lost>> {
        let gone = self.files.copy_all(&mut moment).await?;
        moment.close().await.map_err(failed(&self.url))?;
        Ok(gone)
    }
}

/// The file name of the database's copy.
fn database_copy(url: &DatabaseUrl) -> &'static str {
    if url.file().is_some() { SQLITE_COPY } else { POSTGRES_DUMP }
}

/// The SHA-256 of a file's content, in hex.
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

/// The copy of an SQLite database, to be read.
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

/// What failed, and why.
fn failed<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> Failed {
    move |error| Failed(format!("{what}: {error}"))
}

/// What failed, where, and why.
fn failed_at<E: std::fmt::Display>(what: &str, path: &Path) -> impl FnOnce(E) -> Failed {
    move |error| Failed(format!("{what} {}: {error}", path.display()))
}
