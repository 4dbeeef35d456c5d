//! The master key of the data folder, in a backup.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::manifest::MasterKeyOf;
use super::{Failed, Result, failed_at};
use crate::config::Config;
use crate::secrets::{KEY_FILE, NEXT_KEY_FILE};

/// A key file as it was when the backup began.
pub(super) struct CopiedKey {
    source: PathBuf,
    in_environment: bool,
    is_left_out: bool,
    content: Option<Zeroizing<Vec<u8>>>,
}

impl CopiedKey {
    /// Errors: when it cannot be read, or another key is taking its place.
    pub(super) fn read(config: &Config) -> Result<Self> {
        let source = config.data.join(KEY_FILE);
        let in_environment = config.master_key.is_some();
        let content = if in_environment { None } else { content_of(&source)? };
        if !in_environment && config.data.join(NEXT_KEY_FILE).exists() {
            return Err(Failed(
                "another master key is taking the place of the old one; start the server, or do \
                 `picloud master-key rotate` to its end, and try again"
                    .to_owned(),
            ));
        }
        Ok(Self { source, in_environment, is_left_out: false, content })
    }

    /// The backup is to have none.
    pub(super) fn leave_out(&mut self) {
        self.is_left_out = true;
    }

    /// Writes it into a backup whose database was copied since.
    ///
    /// Errors: when it cannot be written, or is another one by now.
    pub(super) fn write_into(&self, folder: &Path) -> Result<MasterKeyOf> {
        if self.in_environment {
            return Ok(MasterKeyOf::Environment);
        }
        if content_of(&self.source)? != self.content {
            return Err(Failed("the master key was replaced meanwhile; try again".to_owned()));
        }
        let Some(content) = &self.content else { return Ok(MasterKeyOf::None) };
        if self.is_left_out {
            return Ok(MasterKeyOf::LeftOut);
        }
        write(&folder.join(KEY_FILE), content)?;
        Ok(MasterKeyOf::Backup)
    }
}

/// Copies the key of a backup into a data folder, if it has one.
pub(super) fn restore(source: &Path, data: &Path) -> Result<()> {
    match content_of(&source.join(KEY_FILE))? {
        Some(content) => write(&data.join(KEY_FILE), &content),
        None => Ok(()),
    }
}

fn content_of(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(Zeroizing::new(content))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed_at("the master key", path)(error)),
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    written.map_err(failed_at("the master key", path))
}
