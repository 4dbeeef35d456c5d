//! The data folder's master key in a backup.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::manifest::MasterKeyOf;
use super::{Failed, Result, failed_at};
use crate::config::Config;
use crate::secrets::{KEY_FILE, NEXT_KEY_FILE};

/// The key file as of the beginning of the backup.
pub(super) struct CopiedKey {
    source: PathBuf,
    in_environment: bool,
    is_left_out: bool,
    content: Option<Zeroizing<Vec<u8>>>,
}

impl CopiedKey {
    /// Reads the key. Errors: if it cannot be read, or if another key is replacing it.
    pub(super) fn read(config: &Config) -> Result<Self> {
        let source = config.data.join(KEY_FILE);
        let in_environment = config.master_key.is_some();
        let content = if in_environment { None } else { content_of(&source)? };
        if !in_environment && config.data.join(NEXT_KEY_FILE).exists() {
            return Err(Failed(
                "a rotation of the master key is not finished; start the server, or run \
                 `picloud master-key rotate` to its end, and try again"
                    .to_owned(),
            ));
        }
        Ok(Self { source, in_environment, is_left_out: false, content })
    }

    /// Omits the key from the backup.
    pub(super) fn leave_out(&mut self) {
        self.is_left_out = true;
    }

    /// Writes the key into a backup whose database was copied in the meantime.
    ///
    /// Errors: if it cannot be written, or if another key has replaced it.
    pub(super) fn write_into(&self, folder: &Path) -> Result<MasterKeyOf> {
        if self.in_environment {
            return Ok(MasterKeyOf::Environment);
        }
        if content_of(&self.source)? != self.content {
            return Err(Failed("the master key has been replaced; try again".to_owned()));
        }
        let Some(content) = &self.content else { return Ok(MasterKeyOf::None) };
        if self.is_left_out {
            return Ok(MasterKeyOf::LeftOut);
        }
        write(&folder.join(KEY_FILE), content)?;
        Ok(MasterKeyOf::Backup)
    }
}

/// Copies the key of a backup into a data folder, if the backup has one.
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
