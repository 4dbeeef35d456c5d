//! Checks of text before it is stored.
//!
//! PostgreSQL refuses NUL in text and long keys in indexes; SQLite accepts both. The store refuses
//! both, so that the databases behave the same.
//!
//! Invariant: no statement gets a NUL except inside [`Json`], where it is the six characters
//! `\u0000`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Error, Resource, Result};
use crate::json::Verbatim;

/// The maximum length of names of apps and scripts.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// The maximum length of a domain name (RFC 1035).
pub(super) const HOST_BYTES_MAX: usize = 253;
/// The maximum lengths of methods, paths and shapes: together with a host they must stay below the
/// 2704 bytes of a PostgreSQL index key.
pub(super) const METHOD_BYTES_MAX: usize = 32;
pub(super) const PATH_BYTES_MAX: usize = 2048;
/// For text without an index: the API limits sources and descriptions.
pub(super) const UNLIMITED: usize = usize::MAX;

/// JSON as stored text: written once and never parsed in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Json(String);

impl Json {
    /// Serializes `value` as JSON. Errors: its `Serialize` failed, or a map's key is not a string.
    pub fn of(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self)
    }

    /// Wraps a text that is already JSON.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// Parses the JSON exactly as written: see [`Verbatim`].
    pub fn value(&self) -> serde_json::Result<Value> {
        Verbatim::read(&self.0)
    }

    /// Parses the JSON as a `T` that contains no `serde_json::Value`: see [`Verbatim`].
    pub fn to<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.0)
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses text that one of the databases would refuse.
pub(super) fn check(field: &'static str, text: &str, bytes_max: usize) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::Invalid { field, reason: "must not contain NUL" });
    }
    if text.len() > bytes_max {
        return Err(Error::Invalid { field, reason: "is too long" });
    }
    Ok(())
}

/// [`check`] for a text to look up: a text that cannot be stored is not found.
pub(super) fn check_sought(resource: Resource, text: &str) -> Result<()> {
    if text.contains('\0') { Err(Error::NotFound(resource)) } else { Ok(()) }
}
