//! `guest/picloud_guest.lock`: records the sources and compiler of the committed module.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, LOCK_PATH};

/// The lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The [`crate::sources::hash`] of the module's sources.
    pub sources_sha256: String,
    /// The hash of the module's bytes.
    pub module_sha256: String,
    /// The version of the compiler.
    pub rustc: String,
}

impl Lock {
    /// Creates the lock of a module.
    #[must_use]
    pub fn of(module: &[u8], sources_sha256: String, rustc: String) -> Self {
        Self { sources_sha256, module_sha256: hex::encode(Sha256::digest(module)), rustc }
    }

    /// Reads the committed lock file.
    ///
    /// # Errors
    /// Fails if it is missing or malformed.
    pub fn read(root: &Path) -> Result<Self, Error> {
        Ok(toml::from_str(&fs::read_to_string(root.join(LOCK_PATH))?)?)
    }

    /// Returns the file's text.
    ///
    /// # Errors
    /// Never in practice: three strings always have a TOML form.
    pub fn to_text(&self) -> Result<String, Error> {
        Ok(format!("# Written by `make guest`.\n{}", toml::to_string(self)?))
    }

    /// Checks that both were built from the same sources.
    ///
    /// # Errors
    /// Fails if the sources have changed.
    pub fn same_sources(&self, committed: &Self) -> Result<(), Error> {
        if self.sources_sha256 == committed.sources_sha256 {
            Ok(())
        } else {
            Err("the guest's sources have changed since guest/picloud_guest.wasm was built: run `make guest`".into())
        }
    }

    /// Checks that both have the same bytes.
    ///
    /// # Errors
    /// Fails if they differ.
    pub fn same_module(&self, committed: &Self) -> Result<(), Error> {
        if self.module_sha256 == committed.module_sha256 {
            Ok(())
        } else {
            Err(format!(
                "a build of the sources has sha256 {}, the committed module {}: run `make guest`",
                self.module_sha256, committed.module_sha256
            )
            .into())
        }
    }
}
