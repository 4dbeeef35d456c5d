//! `backup.json`: the description of a backup.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{Copying, Lost};
use super::{Failed, Result, failed_at, sync};
use crate::store::DatabaseUrl;

pub(super) const NAME: &str = "backup.json";
/// The format of backups; another number is another format.
const FORMAT: u32 = 1;

/// The description of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format.
    format: u32,
    /// The release that made the backup.
    pub picloud: String,
    /// `sqlite` or `postgres`.
    pub database: String,
    /// When the backup was finished, in microseconds since 1970.
    pub made_at: i64,
    /// The number of files.
    pub files: usize,
    /// The total size of the files, in bytes.
    pub files_bytes: i64,
    /// The files whose content is lost.
    pub lost: BTreeSet<Lost>,
    /// The location of the master key.
    #[serde(default)]
    pub master_key: MasterKeyOf,
    /// The SHA-256 of the database's copy, in hexadecimal; `None` in an older release's backup.
    #[serde(default)]
    pub database_sha256: Option<String>,
}

/// The location of the master key that opens a backup's secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterKeyOf {
    /// No key exists: no server has ever run.
    #[default]
    None,
    /// In the backup.
    Backup,
    /// In the environment of the server, not in the backup.
    Environment,
    /// In the data folder of the server, but omitted from the backup on request.
    LeftOut,
}

impl Manifest {
    pub(super) fn new(
        url: &DatabaseUrl,
        made_at: i64,
        files: &Copying,
        lost: BTreeSet<Lost>,
        master_key: MasterKeyOf,
        database_sha256: String,
    ) -> Self {
        Self {
            format: FORMAT,
            picloud: env!("CARGO_PKG_VERSION").to_owned(),
            database: url.kind().to_owned(),
            made_at,
            files: files.count(),
            files_bytes: files.bytes,
            lost,
            master_key,
            database_sha256: Some(database_sha256),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(NAME);
        let text = serde_json::to_string_pretty(self).map_err(failed_at("cannot write", &path))?;
        fs::write(&path, text + "\n").map_err(failed_at("cannot write", &path))?;
        sync(&path)
    }

    /// Identifies the restore of this backup into a database, in one line.
    pub(super) fn restore_into(&self, url: &DatabaseUrl) -> String {
        let sha256 = self.database_sha256.as_deref().unwrap_or_default();
        format!("{} {sha256} {url}", self.made_at)
    }

    /// Reads the manifest. Errors: if the folder is not a backup, or if a later release made it.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join(NAME));
        let text = text.map_err(failed_at("not a backup:", &folder.join(NAME)))?;
        let known: Self =
            serde_json::from_str(&text).map_err(failed_at("cannot read", &folder.join(NAME)))?;
        match known.format {
            FORMAT => Ok(known),
            _ => Err(Failed(format!("the backup is of a later release, {}", known.picloud))),
        }
    }
}
