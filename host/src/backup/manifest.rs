//! `backup.json`: what a backup says of itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{Copying, Lost};
use super::{Failed, Result, failed_at, sync};
use crate::store::DatabaseUrl;

pub(super) const NAME: &str = "backup.json";
/// The form of backups. Another number is another form.
const FORMAT: u32 = 1;

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which form it has.
    format: u32,
    /// The release that has made it.
    pub picloud: String,
    /// `sqlite` or `postgres`.
    pub database: String,
    /// When it was done, in microseconds since 1970.
    pub made_at: i64,
    /// How many files it has.
    pub files: usize,
    /// Their size together.
    pub files_bytes: i64,
    /// Files without their content.
    pub lost: BTreeSet<Lost>,
    /// Where the master key is.
    #[serde(default)]
    pub master_key: MasterKeyOf,
    /// The SHA-256 of the database's copy, in hex; none in a backup of an earlier release.
    #[serde(default)]
    pub database_sha256: Option<String>,
}

/// Where the key of a backup's secrets is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterKeyOf {
    /// There was none: nothing has ever been served.
    #[default]
    None,
    /// It is in the backup.
    Backup,
    /// In the environment of the server, and not in the backup.
    Environment,
    /// In the data folder of the server, and not in the backup, as was asked.
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

    /// Errors: when the folder is no backup, or one of a later release.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join(NAME));
        let text = text.map_err(failed_at("this is no backup:", &folder.join(NAME)))?;
        let known: Self =
            serde_json::from_str(&text).map_err(failed_at("cannot read", &folder.join(NAME)))?;
        match known.format {
            FORMAT => Ok(known),
            _ => Err(Failed(format!("the backup is of a later release, {}", known.picloud))),
        }
    }
}
